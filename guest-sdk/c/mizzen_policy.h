// An admission policy in C: write `mizzen_validate` and `mizzen_review`.
#ifndef MIZZEN_POLICY_H
#define MIZZEN_POLICY_H

#include "generated/admission_policy.h"
#include "mizzen_json.h"

// Whether the policy may answer `mizzen_replace`; define it.
extern const bool mizzen_mutating;

// Null, or what is wrong with the settings (JSON, `{}` without any).
const char *mizzen_validate(mizzen_text settings);

// Allows unless it calls `mizzen_deny` or `mizzen_replace`. Settings and request stay where they are until it returns.
void mizzen_review(const mizzen_policy_types_request_t *request, mizzen_text settings);

// Denies the request under way, with 403 and a message as printf makes it (at most 1,023 bytes).
void mizzen_deny(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Lets it through with this object (JSON) in place of its own.
void mizzen_replace(const char *object);

// The object after the request; a null pointer for deletions.
mizzen_text mizzen_object(const mizzen_policy_types_request_t *request);

// One line for the server's log.
void mizzen_log(mizzen_plugin_log_level_t level, const char *line);

#endif
