#include "mizzen_json.h"

#include <stdarg.h>
#include <string.h>

static const char *space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
  return at;
}

// Behind the string that begins here.
static const char *string_end(const char *at, const char *end) {
  for (at++; at < end && *at != '"'; at++) {
    if (*at == '\\') at++;
  }
  return at < end ? at + 1 : end;
}

// Behind the value that begins here.
static const char *value_end(const char *at, const char *end) {
  if (at >= end) return end;
  if (*at == '"') return string_end(at, end);
  if (*at != '{' && *at != '[') {
    while (at < end && !strchr(",]} \t\r\n", *at)) at++;
    return at;
  }
  size_t depth = 0;
  while (at < end) {
    if (*at == '"') {
      at = string_end(at, end);
      continue;
    }
    if (*at == '{' || *at == '[') depth++;
    if ((*at == '}' || *at == ']') && --depth == 0) return at + 1;
    at++;
  }
  return end;
}

static mizzen_text none(void) {
  mizzen_text none = {NULL, 0};
  return none;
}

mizzen_text mizzen_json_member(mizzen_text object, const char *key) {
  if (!object.ptr) return none();
  const char *end = object.ptr + object.len;
  const char *at = space(object.ptr, end);
  if (at >= end || *at != '{') return none();
  size_t length = strlen(key);
  at = space(at + 1, end);
  while (at < end && *at == '"') {
    const char *name = at + 1;
    at = string_end(at, end);
    bool same = (size_t)(at - name - 1) == length && memcmp(name, key, length) == 0;
    at = space(at, end);
    if (at >= end || *at != ':') return none();
    const char *value = space(at + 1, end);
    at = value_end(value, end);
    if (same) {
      mizzen_text found = {value, (size_t)(at - value)};
      return found;
    }
    at = space(at, end);
    if (at < end && *at == ',') at = space(at + 1, end);
  }
  return none();
}

mizzen_text mizzen_json_path(mizzen_text object, const char *key, ...) {
  va_list keys;
  va_start(keys, key);
  for (; key; key = va_arg(keys, const char *)) object = mizzen_json_member(object, key);
  va_end(keys);
  return object;
}

bool mizzen_json_is_array(mizzen_text value) {
  const char *at = value.ptr ? space(value.ptr, value.ptr + value.len) : NULL;
  return at && at < value.ptr + value.len && *at == '[';
}

bool mizzen_json_next(mizzen_text array, mizzen_text *element) {
  if (!mizzen_json_is_array(array)) return false;
  const char *end = array.ptr + array.len;
  const char *at = element->ptr ? space(element->ptr + element->len, end) : space(array.ptr, end) + 1;
  if (element->ptr && at < end && *at == ',') at++;
  at = space(at, end);
  if (at >= end || *at == ']') return false;
  element->ptr = at;
  element->len = (size_t)(value_end(at, end) - at);
  return true;
}

static int hex(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

// The code unit of four digits, or -1.
static int32_t unit(const char *at, const char *end) {
  if (end - at < 4) return -1;
  int32_t unit = 0;
  for (int n = 0; n < 4; n++) {
    if (hex(at[n]) < 0) return -1;
    unit = unit << 4 | hex(at[n]);
  }
  return unit;
}

static size_t utf8(uint32_t c, char out[4]) {
  if (c < 0x80) return out[0] = (char)c, 1;
  if (c < 0x800) return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
  if (c < 0x10000) return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)), out[2] = (char)(0x80 | (c & 63)), 3;
  out[0] = (char)(0xf0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 63));
  out[2] = (char)(0x80 | (c >> 6 & 63));
  out[3] = (char)(0x80 | (c & 63));
  return 4;
}

bool mizzen_json_string(mizzen_text value, char *out, size_t size) {
  if (size) *out = 0;
  if (!value.ptr || value.len < 2 || *value.ptr != '"' || !size) return false;
  const char *at = value.ptr + 1, *end = value.ptr + value.len - 1;
  size_t used = 0;
  while (at < end) {
    char bytes[4] = {*at++};
    size_t count = 1;
    if (bytes[0] == '\\' && at < end) {
      const char *plain = "\"\\/bfnrt", *means = "\"\\/\b\f\n\r\t";
      const char *which = strchr(plain, *at);
      int32_t high = *at == 'u' ? unit(at + 1, end) : -1;
      if (which && *at) {
        bytes[0] = means[which - plain];
        at++;
      } else if (high >= 0) {
        at += 5;
        uint32_t c = (uint32_t)high;
        int32_t low = high >= 0xd800 && high < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? unit(at + 2, end) : -1;
        if (low >= 0xdc00 && low < 0xe000) {
          c = 0x10000 + ((c - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
          at += 6;
        }
        count = utf8(c, bytes);
      }
    }
    if (used + count >= size) break;
    memcpy(out + used, bytes, count);
    used += count;
  }
  out[used] = 0;
  return true;
}
