#include "mizzen_scheduler.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
  bool has;
  int64_t value;  // an integer, or an index into the dictionary
} cell;

typedef struct {
  char *name;
  cell *cells;
  size_t rows;
} column;

typedef struct cycle {
  mizzen_pod pod;
  struct cycle *next;
} cycle;

static column *columns;
static size_t column_count;
static mizzen_text *dictionary;
static size_t words;
static cycle *cycles;

__attribute__((weak)) const char *mizzen_filter(const mizzen_pod *pod, uint32_t row) {
  return (void)pod, (void)row, NULL;
}

__attribute__((weak)) int64_t mizzen_score(const mizzen_pod *pod, uint32_t row) {
  return (void)pod, (void)row, 0;
}

static void *grown(void *old, size_t count, size_t size) {
  void *new = realloc(old, count * size + 1);
  if (!new) abort();
  return new;
}

int mizzen_column(const char *name) {
  for (size_t n = 0; n < column_count; n++) {
    if (strcmp(columns[n].name, name) == 0) return (int)n;
  }
  columns = grown(columns, column_count + 1, sizeof *columns);
  column new = {strdup(name), NULL, 0};
  columns[column_count] = new;
  return (int)column_count++;
}

static cell at(int number, uint32_t row) {
  cell none = {false, 0};
  return number >= 0 && (size_t)number < column_count && row < columns[number].rows ? columns[number].cells[row] : none;
}

bool mizzen_integer_at(int number, uint32_t row, int64_t *value) {
  cell found = at(number, row);
  *value = found.value;
  return found.has;
}

bool mizzen_text_at(int number, uint32_t row, mizzen_text *value) {
  cell found = at(number, row);
  if (!found.has || found.value < 0 || (size_t)found.value >= words) return false;
  *value = dictionary[found.value];
  return true;
}

bool mizzen_text_is(mizzen_text text, const char *other) {
  return text.ptr && strlen(other) == text.len && memcmp(text.ptr, other, text.len) == 0;
}

static mizzen_text find(const scheduler_plugin_list_tuple2_string_string_t *pairs, const char *key) {
  mizzen_text found = {NULL, 0};
  for (size_t n = 0; n < pairs->len; n++) {
    mizzen_text name = {(const char *)pairs->ptr[n].f0.ptr, pairs->ptr[n].f0.len};
    if (!mizzen_text_is(name, key)) continue;
    found.ptr = (const char *)pairs->ptr[n].f1.ptr;
    found.len = pairs->ptr[n].f1.len;
  }
  return found;
}

mizzen_text mizzen_pod_label(const mizzen_pod *pod, const char *key) { return find(&pod->labels, key); }

mizzen_text mizzen_pod_annotation(const mizzen_pod *pod, const char *key) { return find(&pod->annotations, key); }

static scheduler_plugin_string_t named(const char *text) {
  scheduler_plugin_string_t string;
  scheduler_plugin_string_set(&string, text);
  return string;
}

void mizzen_log(mizzen_level level, const char *line) {
  scheduler_plugin_string_t text = named(line);
  mizzen_plugin_log_write((mizzen_plugin_log_level_t)level, &text);
}

uint64_t mizzen_now(void) { return mizzen_plugin_clock_now(); }

uint64_t mizzen_monotonic(void) { return mizzen_plugin_clock_monotonic(); }

void mizzen_random(void *out, uint32_t size) {
  scheduler_plugin_list_u8_t bytes = {0};
  mizzen_plugin_random_bytes(size, &bytes);
  if (bytes.ptr) memcpy(out, bytes.ptr, bytes.len < size ? bytes.len : size);
  scheduler_plugin_list_u8_free(&bytes);
}

void mizzen_count(const char *name, double amount) {
  scheduler_plugin_string_t text = named(name);
  mizzen_plugin_metrics_count(&text, amount);
}

void mizzen_gauge(const char *name, double value) {
  scheduler_plugin_string_t text = named(name);
  mizzen_plugin_metrics_gauge(&text, value);
}

static mizzen_text text_of(const scheduler_plugin_string_t *string) {
  mizzen_text text = {(const char *)string->ptr, string->len};
  return text;
}

mizzen_text mizzen_pod_name(const mizzen_pod *pod) { return text_of(&pod->name); }

mizzen_text mizzen_pod_namespace(const mizzen_pod *pod) { return text_of(&pod->namespace_); }

int64_t mizzen_pod_request(const mizzen_pod *pod, const char *resource) {
  for (size_t n = 0; n < pod->requests.len; n++) {
    if (mizzen_text_is(text_of(&pod->requests.ptr[n].f0), resource)) return pod->requests.ptr[n].f1;
  }
  return 0;
}

static scheduler_plugin_string_t found;

mizzen_text mizzen_pod_value(const mizzen_pod *pod, const char *pointer) {
  scheduler_plugin_string_t at = named(pointer);
  mizzen_text none = {NULL, 0};
  scheduler_plugin_string_free(&found);
  return mizzen_scheduler_cluster_pod_value(pod->cycle, &at, &found) ? text_of(&found) : none;
}

mizzen_text mizzen_node_value(uint32_t row, const char *pointer) {
  scheduler_plugin_string_t at = named(pointer);
  mizzen_text none = {NULL, 0};
  scheduler_plugin_string_free(&found);
  return mizzen_scheduler_cluster_node_value(row, &at, &found) ? text_of(&found) : none;
}

bool exports_mizzen_scheduler_plugin_configure(scheduler_plugin_string_t *settings, scheduler_plugin_string_t *err) {
  mizzen_text text = {(const char *)settings->ptr, settings->len};
  const char *wrong = mizzen_configure(text);
  if (wrong) scheduler_plugin_string_dup(err, wrong);
  scheduler_plugin_string_free(settings);
  return !wrong;
}

void exports_mizzen_scheduler_plugin_describe(exports_mizzen_scheduler_plugin_description_t *ret) {
  memset(ret, 0, sizeof *ret);
  ret->points = mizzen_points;
  ret->columns.len = column_count;
  ret->columns.ptr = grown(NULL, column_count, sizeof *ret->columns.ptr);
  for (size_t n = 0; n < column_count; n++) scheduler_plugin_string_dup(&ret->columns.ptr[n], columns[n].name);
}

static void forget(void) {
  for (size_t n = 0; n < column_count; n++) {
    free(columns[n].cells);
    columns[n].cells = NULL;
    columns[n].rows = 0;
  }
  for (size_t n = 0; n < words; n++) free((void *)dictionary[n].ptr);
  words = 0;
}

static void put(column *to, uint32_t row, cell value) {
  if (row >= to->rows) {
    size_t rows = (size_t)row + 1 > to->rows * 2 ? (size_t)row + 1 : to->rows * 2;
    to->cells = grown(to->cells, rows, sizeof *to->cells);
    memset(to->cells + to->rows, 0, (rows - to->rows) * sizeof *to->cells);
    to->rows = rows;
  }
  to->cells[row] = value;
}

static int64_t value(const mizzen_scheduler_types_values_t *values, size_t n) {
  switch (values->tag) {
    case MIZZEN_SCHEDULER_TYPES_VALUES_INTEGERS: return values->val.integers.ptr[n];
    case MIZZEN_SCHEDULER_TYPES_VALUES_NUMBERS: return (int64_t)values->val.numbers.ptr[n];
    case MIZZEN_SCHEDULER_TYPES_VALUES_FLAGS: return values->val.flags.ptr[n];
    case MIZZEN_SCHEDULER_TYPES_VALUES_TEXTS: return values->val.texts.ptr[n];
    default: return 0;  // lists of texts are not read by this library
  }
}

void exports_mizzen_scheduler_plugin_update(exports_mizzen_scheduler_plugin_delta_t *change) {
  if (change->since == 0) forget();
  dictionary = grown(dictionary, words + change->dictionary.len, sizeof *dictionary);
  for (size_t n = 0; n < change->dictionary.len; n++) {
    // The text is ours from now on.
    scheduler_plugin_string_t *word = &change->dictionary.ptr[n];
    mizzen_text text = {(const char *)word->ptr, word->len};
    dictionary[words++] = text;
    word->len = 0;
  }
  cell none = {false, 0};
  for (size_t n = 0; n < change->removed.len; n++) {
    for (size_t c = 0; c < column_count; c++) {
      if (change->removed.ptr[n] < columns[c].rows) put(&columns[c], change->removed.ptr[n], none);
    }
  }
  for (size_t n = 0; n < change->columns.len; n++) {
    mizzen_scheduler_types_column_t *news = &change->columns.ptr[n];
    mizzen_text name = {(const char *)news->name.ptr, news->name.len};
    size_t c = 0;
    while (c < column_count && !mizzen_text_is(name, columns[c].name)) c++;
    if (c == column_count || news->values.tag == MIZZEN_SCHEDULER_TYPES_VALUES_TEXT_LISTS) continue;
    for (size_t row = 0; row < change->changed.len; row++) {
      bool has = !news->validity.len || news->validity.ptr[row / 8] >> (row % 8) & 1;
      cell new = {has, has ? value(&news->values, row) : 0};
      put(&columns[c], change->changed.ptr[row], new);
    }
  }
  exports_mizzen_scheduler_plugin_delta_free(change);
}

bool exports_mizzen_scheduler_plugin_pre_filter(exports_mizzen_scheduler_plugin_pod_t *pod, exports_mizzen_scheduler_plugin_state_t *ret, exports_mizzen_scheduler_plugin_rejection_t *err) {
  (void)err;
  exports_mizzen_scheduler_plugin_end(pod->cycle);
  cycle *new = grown(NULL, 1, sizeof *new);
  new->pod = *pod;
  new->next = cycles;
  cycles = new;
  memset(ret, 0, sizeof *ret);
  return true;
}

static const mizzen_pod *pod_of(uint64_t number) {
  cycle *found = cycles;
  while (found && found->pod.cycle != number) found = found->next;
  if (!found) abort();
  return &found->pod;
}

void exports_mizzen_scheduler_plugin_filter(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, exports_mizzen_scheduler_plugin_list_row_t *nodes, exports_mizzen_scheduler_plugin_verdicts_t *ret) {
  const mizzen_pod *pod = pod_of(number);
  memset(ret, 0, sizeof *ret);
  ret->nodes.len = nodes->len;
  ret->nodes.ptr = grown(NULL, nodes->len, sizeof *ret->nodes.ptr);
  for (size_t n = 0; n < nodes->len; n++) {
    ret->nodes.ptr[n] = 0;
    const char *why = mizzen_filter(pod, nodes->ptr[n]);
    if (!why) continue;
    size_t same = 0;
    for (; same < ret->rejections.len; same++) {
      scheduler_plugin_string_t *known = ret->rejections.ptr[same].reasons.ptr;
      mizzen_text text = {(const char *)known->ptr, known->len};
      if (mizzen_text_is(text, why)) break;
    }
    if (same == ret->rejections.len) {
      ret->rejections.ptr = grown(ret->rejections.ptr, same + 1, sizeof *ret->rejections.ptr);
      mizzen_scheduler_types_rejection_t new = {{grown(NULL, 1, sizeof(scheduler_plugin_string_t)), 1}, false};
      scheduler_plugin_string_dup(new.reasons.ptr, why);
      ret->rejections.ptr[ret->rejections.len++] = new;
    }
    ret->nodes.ptr[n] = (uint32_t)same + 1;
  }
  exports_mizzen_scheduler_plugin_state_free(state);
  exports_mizzen_scheduler_plugin_list_row_free(nodes);
}

void exports_mizzen_scheduler_plugin_score(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, exports_mizzen_scheduler_plugin_list_row_t *nodes, scheduler_plugin_list_s64_t *ret) {
  const mizzen_pod *pod = pod_of(number);
  ret->len = nodes->len;
  ret->ptr = grown(NULL, nodes->len, sizeof *ret->ptr);
  for (size_t n = 0; n < nodes->len; n++) ret->ptr[n] = mizzen_score(pod, nodes->ptr[n]);
  exports_mizzen_scheduler_plugin_state_free(state);
  exports_mizzen_scheduler_plugin_list_row_free(nodes);
}

void exports_mizzen_scheduler_plugin_end(uint64_t number) {
  for (cycle **at = &cycles; *at; at = &(*at)->next) {
    if ((*at)->pod.cycle != number) continue;
    cycle *over = *at;
    *at = over->next;
    exports_mizzen_scheduler_plugin_pod_free(&over->pod);
    free(over);
    return;
  }
}

// What this library leaves out.

bool exports_mizzen_scheduler_plugin_post_filter(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, scheduler_plugin_string_t *ret) {
  (void)number, (void)ret;
  exports_mizzen_scheduler_plugin_state_free(state);
  return false;
}

void exports_mizzen_scheduler_plugin_pre_score(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, exports_mizzen_scheduler_plugin_list_row_t *feasible, exports_mizzen_scheduler_plugin_state_t *ret) {
  (void)number;
  exports_mizzen_scheduler_plugin_list_row_free(feasible);
  *ret = *state;
}

bool exports_mizzen_scheduler_plugin_reserve(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, uint32_t row, scheduler_plugin_string_t *err) {
  (void)number, (void)row, (void)err;
  exports_mizzen_scheduler_plugin_state_free(state);
  return true;
}

void exports_mizzen_scheduler_plugin_unreserve(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, uint32_t row) {
  (void)number, (void)row;
  exports_mizzen_scheduler_plugin_state_free(state);
}

void exports_mizzen_scheduler_plugin_permit(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, uint32_t row, exports_mizzen_scheduler_plugin_permission_t *ret) {
  (void)number, (void)row;
  memset(ret, 0, sizeof *ret);
  exports_mizzen_scheduler_plugin_state_free(state);
}

bool exports_mizzen_scheduler_plugin_pre_bind(uint64_t number, exports_mizzen_scheduler_plugin_state_t *state, uint32_t row, scheduler_plugin_string_t *err) {
  return exports_mizzen_scheduler_plugin_reserve(number, state, row, err);
}

// The bindings ask for an object file that says which world this is; `mizzen plugin build` says so instead.
void __component_type_object_force_link_scheduler_plugin(void) {}
