// An admission policy in C: write `mizzen_validate` and `mizzen_review`.
#ifndef MIZZEN_POLICY_H
#define MIZZEN_POLICY_H

#include "generated/admission_policy.h"
#include "mizzen_json.h"

typedef enum {
  MIZZEN_DEBUG = MIZZEN_PLUGIN_LOG_LEVEL_DEBUG,
  MIZZEN_INFO = MIZZEN_PLUGIN_LOG_LEVEL_INFO,
  MIZZEN_WARN = MIZZEN_PLUGIN_LOG_LEVEL_WARN,
  MIZZEN_ERROR = MIZZEN_PLUGIN_LOG_LEVEL_ERROR,
} mizzen_level;

// What is asked; the functions below say what stands in it.
typedef mizzen_policy_types_request_t mizzen_request;

typedef enum {
  MIZZEN_CREATE = MIZZEN_POLICY_TYPES_OPERATION_CREATE,
  MIZZEN_UPDATE = MIZZEN_POLICY_TYPES_OPERATION_UPDATE,
  MIZZEN_DELETE = MIZZEN_POLICY_TYPES_OPERATION_DELETE,
  MIZZEN_CONNECT = MIZZEN_POLICY_TYPES_OPERATION_CONNECT,
} mizzen_operation;

// Whether the policy may answer `mizzen_replace`; define it.
extern const bool mizzen_mutating;

// Null, or what is wrong with the settings (JSON, `{}` without any).
const char *mizzen_validate(mizzen_text settings);

// Allows unless it calls `mizzen_deny` or `mizzen_replace`. Settings and request stay where they are until it returns.
void mizzen_review(const mizzen_request *request, mizzen_text settings);

// Denies the request under way, with 403 and a message as printf makes it (at most 1,023 bytes).
void mizzen_deny(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Lets it through with this object (JSON) in place of its own.
void mizzen_replace(const char *object);

// Lets it through (or not), and says this to who asks; as printf makes it.
void mizzen_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

mizzen_operation mizzen_request_operation(const mizzen_request *request);

// The object after the request, a null pointer for deletions; and before it, a null pointer for creations.
mizzen_text mizzen_object(const mizzen_request *request);
mizzen_text mizzen_old_object(const mizzen_request *request);

// Such as `Deployment`, `web`, `shop` (empty where there is none), and who asks.
mizzen_text mizzen_request_kind(const mizzen_request *request);
mizzen_text mizzen_request_name(const mizzen_request *request);
mizzen_text mizzen_request_namespace(const mizzen_request *request);
mizzen_text mizzen_request_user(const mizzen_request *request);

// The request's namespace (JSON), with its labels; a null pointer where there is none. It stands until the review ends.
mizzen_text mizzen_namespace(const mizzen_request *request);

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
