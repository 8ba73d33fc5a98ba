#ifndef __wasm__

#include "mizzen_scheduler_testing.h"

#include <stdlib.h>
#include <string.h>

static uint32_t words;

static void *made(size_t size) {
  void *new = calloc(1, size);
  if (!new) abort();
  return new;
}

static scheduler_plugin_string_t owned(const char *text) {
  scheduler_plugin_string_t string;
  scheduler_plugin_string_dup(&string, text);
  return string;
}

mizzen_text mizzen_test_text(const char *text) {
  mizzen_text it = {text, strlen(text)};
  return it;
}

// A change of one column of one row.
static exports_mizzen_scheduler_plugin_delta_t change(uint32_t row, const char *column) {
  static uint64_t generation = 1;
  exports_mizzen_scheduler_plugin_delta_t delta;
  memset(&delta, 0, sizeof delta);
  delta.since = generation++;
  delta.generation = generation;
  delta.changed.len = 1;
  delta.changed.ptr = made(sizeof *delta.changed.ptr);
  *delta.changed.ptr = row;
  delta.columns.len = 1;
  delta.columns.ptr = made(sizeof *delta.columns.ptr);
  delta.columns.ptr->name = owned(column);
  return delta;
}

void mizzen_test_node_text(uint32_t row, const char *column, const char *value) {
  exports_mizzen_scheduler_plugin_delta_t delta = change(row, column);
  delta.dictionary.len = 1;
  delta.dictionary.ptr = made(sizeof *delta.dictionary.ptr);
  *delta.dictionary.ptr = owned(value);
  mizzen_scheduler_types_values_t *values = &delta.columns.ptr->values;
  values->tag = MIZZEN_SCHEDULER_TYPES_VALUES_TEXTS;
  values->val.texts.len = 1;
  values->val.texts.ptr = made(sizeof(uint32_t));
  *values->val.texts.ptr = words++;
  exports_mizzen_scheduler_plugin_update(&delta);
}

void mizzen_test_node_integer(uint32_t row, const char *column, int64_t value) {
  exports_mizzen_scheduler_plugin_delta_t delta = change(row, column);
  mizzen_scheduler_types_values_t *values = &delta.columns.ptr->values;
  values->tag = MIZZEN_SCHEDULER_TYPES_VALUES_INTEGERS;
  values->val.integers.len = 1;
  values->val.integers.ptr = made(sizeof(int64_t));
  *values->val.integers.ptr = value;
  exports_mizzen_scheduler_plugin_update(&delta);
}

mizzen_pod mizzen_test_pod(const char *name) {
  mizzen_pod pod;
  memset(&pod, 0, sizeof pod);
  pod.name = owned(name);
  return pod;
}

static void add(scheduler_plugin_list_tuple2_string_string_t *pairs, const char *key, const char *value) {
  pairs->ptr = realloc(pairs->ptr, (pairs->len + 1) * sizeof *pairs->ptr);
  if (!pairs->ptr) abort();
  scheduler_plugin_tuple2_string_string_t pair = {owned(key), owned(value)};
  pairs->ptr[pairs->len++] = pair;
}

void mizzen_test_pod_label(mizzen_pod *pod, const char *key, const char *value) { add(&pod->labels, key, value); }

void mizzen_test_pod_annotation(mizzen_pod *pod, const char *key, const char *value) { add(&pod->annotations, key, value); }

#else
// A file of C holds something.
typedef int mizzen_scheduler_testing;
#endif
