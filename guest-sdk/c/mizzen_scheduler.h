// A scheduler plugin in C: write `mizzen_configure`, and `mizzen_filter` or `mizzen_score`. The other extension points do nothing here;
// who needs them implements the functions of generated/scheduler_plugin.h instead of using this.
#ifndef MIZZEN_SCHEDULER_H
#define MIZZEN_SCHEDULER_H

#include "generated/scheduler_plugin.h"
#include "mizzen_json.h"

// The extension points that do something: MIZZEN_SCHEDULER_TYPES_POINTS_FILTER and _SCORE; define it.
extern const mizzen_scheduler_types_points_t mizzen_points;

// Null, or what is wrong with the settings (JSON, `{}` without any). Asks for the columns here.
const char *mizzen_configure(mizzen_text settings);

// Null, or why the pod cannot run on the node.
const char *mizzen_filter(const mizzen_scheduler_types_pod_t *pod, uint32_t row);

// From 0 to 100.
int64_t mizzen_score(const mizzen_scheduler_types_pod_t *pod, uint32_t row);

// Asks for a column (plugins/wit/scheduler says which there are), and answers the number by which it is read.
int mizzen_column(const char *name);

// A row's value; false where it has none.
bool mizzen_text_at(int column, uint32_t row, mizzen_text *value);
bool mizzen_integer_at(int column, uint32_t row, int64_t *value);

// A label or annotation of the pod; a null pointer where it has none.
mizzen_text mizzen_pod_label(const mizzen_scheduler_types_pod_t *pod, const char *key);
mizzen_text mizzen_pod_annotation(const mizzen_scheduler_types_pod_t *pod, const char *key);

// Whether they are the same.
bool mizzen_text_is(mizzen_text text, const char *other);

// One line for the server's log.
void mizzen_log(mizzen_plugin_log_level_t level, const char *line);

#endif
