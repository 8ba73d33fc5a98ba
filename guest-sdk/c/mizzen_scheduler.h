// A scheduler plugin in C: write `mizzen_configure`, and `mizzen_filter` or `mizzen_score`. The other extension points do nothing here;
// who needs them implements the functions of generated/scheduler_plugin.h instead of using this.
#ifndef MIZZEN_SCHEDULER_H
#define MIZZEN_SCHEDULER_H

#include "generated/scheduler_plugin.h"
#include "mizzen_json.h"

typedef enum {
  MIZZEN_DEBUG = MIZZEN_PLUGIN_LOG_LEVEL_DEBUG,
  MIZZEN_INFO = MIZZEN_PLUGIN_LOG_LEVEL_INFO,
  MIZZEN_WARN = MIZZEN_PLUGIN_LOG_LEVEL_WARN,
  MIZZEN_ERROR = MIZZEN_PLUGIN_LOG_LEVEL_ERROR,
} mizzen_level;

// The pod that is being placed; the functions below say what stands in it.
typedef mizzen_scheduler_types_pod_t mizzen_pod;

enum {
  MIZZEN_FILTER = MIZZEN_SCHEDULER_TYPES_POINTS_FILTER,
  MIZZEN_SCORE = MIZZEN_SCHEDULER_TYPES_POINTS_SCORE,
};

// The extension points that do something: MIZZEN_FILTER, MIZZEN_SCORE or both (`|`); define it.
extern const uint8_t mizzen_points;

// Null, or what is wrong with the settings (JSON, `{}` without any). Asks for the columns here.
const char *mizzen_configure(mizzen_text settings);

// Null, or why the pod cannot run on the node.
const char *mizzen_filter(const mizzen_pod *pod, uint32_t row);

// From 0 to 100.
int64_t mizzen_score(const mizzen_pod *pod, uint32_t row);

// Asks for a column (plugins/wit/scheduler says which there are), and answers the number by which it is read.
int mizzen_column(const char *name);

// A row's value; false where it has none.
bool mizzen_text_at(int column, uint32_t row, mizzen_text *value);
bool mizzen_integer_at(int column, uint32_t row, int64_t *value);

// The pod's name and namespace, and what all its containers together ask for (cpu in millicores, everything else in its unit).
mizzen_text mizzen_pod_name(const mizzen_pod *pod);
mizzen_text mizzen_pod_namespace(const mizzen_pod *pod);
int64_t mizzen_pod_request(const mizzen_pod *pod, const char *resource);

// What stands at a JSON pointer, such as `/spec/containers/0/image` or `/status/nodeInfo/architecture`, of the whole pod or node, as
// JSON; slower than a column. A null pointer where there is nothing. It stands until the next call of either.
mizzen_text mizzen_pod_value(const mizzen_pod *pod, const char *pointer);
mizzen_text mizzen_node_value(uint32_t row, const char *pointer);

// A label or annotation of the pod; a null pointer where it has none.
mizzen_text mizzen_pod_label(const mizzen_pod *pod, const char *key);
mizzen_text mizzen_pod_annotation(const mizzen_pod *pod, const char *key);

// Whether they are the same.
bool mizzen_text_is(mizzen_text text, const char *other);

// One line for the server's log.
void mizzen_log(mizzen_level level, const char *line);

// Milliseconds since 1970; nanoseconds since some moment, which never go back.
uint64_t mizzen_now(void);
uint64_t mizzen_monotonic(void);

// At most 4,096 random bytes.
void mizzen_random(void *out, uint32_t size);

// Adds to a counter, or sets a gauge; at `/metrics` they are `mizzen_plugin_user_NAME`.
void mizzen_count(const char *name, double amount);
void mizzen_gauge(const char *name, double value);

#endif
