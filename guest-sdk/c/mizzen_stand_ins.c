// What the host offers, for unit tests, which are programs of this machine: lines go to stderr, clocks stand still, and the cluster
// is empty.
#ifndef __wasm__

#include <stdint.h>
#include <stdio.h>
#include <string.h>

// Answers nothing: an empty list, or no value.
static void none(uint8_t *answer) { memset(answer, 0, 2 * sizeof(void *)); }

void __wasm_import_mizzen_plugin_log_write(int32_t level, uint8_t *line, size_t len) {
  fprintf(stderr, "log %d: %.*s\n", (int)level, (int)len, (const char *)line);
}

int64_t __wasm_import_mizzen_plugin_clock_now(void) { return 0; }
int64_t __wasm_import_mizzen_plugin_clock_monotonic(void) { return 0; }
void __wasm_import_mizzen_plugin_random_bytes(int32_t count, uint8_t *answer) { (void)count, none(answer); }
void __wasm_import_mizzen_plugin_metrics_count(uint8_t *name, size_t len, double amount) { (void)name, (void)len, (void)amount; }
void __wasm_import_mizzen_plugin_metrics_gauge(uint8_t *name, size_t len, double value) { (void)name, (void)len, (void)value; }

// Of policies.

void __wasm_import_mizzen_policy_context_get(uint8_t *a, size_t b, uint8_t *c, size_t d, uint8_t *e, size_t f, uint8_t *g, size_t h, uint8_t *answer) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h, none(answer);
}

void __wasm_import_mizzen_policy_context_by_label(uint8_t *a, size_t b, uint8_t *c, size_t d, uint8_t *e, size_t f, uint8_t *g, size_t h, uint8_t *i, size_t j, uint8_t *answer) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h, (void)i, (void)j, none(answer);
}

void __wasm_import_mizzen_policy_context_by_index(uint8_t *a, size_t b, uint8_t *c, size_t d, uint8_t *e, size_t f, uint8_t *g, size_t h, uint8_t *answer) {
  (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h, none(answer);
}

void __wasm_import_mizzen_policy_context_namespace(uint8_t *name, size_t len, uint8_t *answer) { (void)name, (void)len, none(answer); }

int64_t __wasm_import_mizzen_policy_context_count(uint8_t *a, size_t b, uint8_t *c, size_t d, uint8_t *e, size_t f) {
  return (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, 0;
}

// Of scheduler plugins.

void __wasm_import_mizzen_scheduler_cluster_node(int32_t row, uint8_t *answer) { (void)row, none(answer); }
void __wasm_import_mizzen_scheduler_cluster_pod(int64_t cycle, uint8_t *answer) { (void)cycle, none(answer); }
void __wasm_import_mizzen_scheduler_cluster_pods_on(int32_t row, uint8_t *answer) { (void)row, none(answer); }
void __wasm_import_mizzen_scheduler_cluster_node_value(int32_t row, uint8_t *pointer, size_t len, uint8_t *answer) {
  (void)row, (void)pointer, (void)len, none(answer);
}
void __wasm_import_mizzen_scheduler_cluster_pod_value(int64_t cycle, uint8_t *pointer, size_t len, uint8_t *answer) {
  (void)cycle, (void)pointer, (void)len, none(answer);
}

#else
// A file of C holds something.
typedef int mizzen_stand_ins;
#endif
