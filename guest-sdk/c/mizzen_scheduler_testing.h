// Unit tests of a scheduler plugin: a program of this machine (`make test`), no Wasm. `mizzen_configure`, `mizzen_filter` and
// `mizzen_score` are called as they are; what is here makes the nodes and pods that they look at.
#ifndef MIZZEN_SCHEDULER_TESTING_H
#define MIZZEN_SCHEDULER_TESTING_H

#include "mizzen_scheduler.h"

// JSON and other texts, as functions of the SDK take them.
mizzen_text mizzen_test_text(const char *text);

// Gives a node, by its row, a value in a column that `mizzen_configure` has asked for.
void mizzen_test_node_text(uint32_t row, const char *column, const char *value);
void mizzen_test_node_integer(uint32_t row, const char *column, int64_t value);

// A pod with nothing, and what is added to it.
mizzen_pod mizzen_test_pod(const char *name);
void mizzen_test_pod_label(mizzen_pod *pod, const char *key, const char *value);
void mizzen_test_pod_annotation(mizzen_pod *pod, const char *key, const char *value);

#endif
