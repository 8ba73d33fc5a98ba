// Reads JSON where it stands: nothing is copied or parsed twice over. A value is the text of it; one that is not there has a null
// pointer, and everything may be asked of it.
#ifndef MIZZEN_JSON_H
#define MIZZEN_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *ptr;
  size_t len;
} mizzen_text;

// The value of a key of an object.
mizzen_text mizzen_json_member(mizzen_text object, const char *key);

// The same along several keys; the last argument is a null pointer.
mizzen_text mizzen_json_path(mizzen_text object, const char *key, ...);

// The elements of an array one after the other: begin with an element whose pointer is null. False after the last.
bool mizzen_json_next(mizzen_text array, mizzen_text *element);

// The text of a string, ended with a zero and cut to `size`; false (and an empty text) where the value is no string.
bool mizzen_json_string(mizzen_text value, char *out, size_t size);

// Whether the value is an array.
bool mizzen_json_is_array(mizzen_text value);

#endif
