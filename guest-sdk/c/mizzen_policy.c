#include "mizzen_policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mizzen_text settings;
static exports_mizzen_policy_policy_response_t *answer;

bool exports_mizzen_policy_policy_validate_settings(admission_policy_string_t *given, admission_policy_string_t *err) {
  mizzen_text text = {(const char *)given->ptr, given->len};
  const char *wrong = mizzen_validate(text);
  if (wrong) admission_policy_string_dup(err, wrong);
  admission_policy_string_free(given);
  return !wrong;
}

void exports_mizzen_policy_policy_configure(admission_policy_string_t *given, exports_mizzen_policy_policy_description_t *ret) {
  free((void *)settings.ptr);
  settings.ptr = (const char *)given->ptr;
  settings.len = given->len;
  memset(ret, 0, sizeof *ret);
  ret->mutating = mizzen_mutating;
}

void exports_mizzen_policy_policy_review(exports_mizzen_policy_policy_request_t *request, exports_mizzen_policy_policy_response_t *ret) {
  memset(ret, 0, sizeof *ret);
  answer = ret;
  mizzen_review(request, settings);
  exports_mizzen_policy_policy_request_free(request);
}

void exports_mizzen_policy_policy_review_batch(exports_mizzen_policy_policy_list_request_t *requests, exports_mizzen_policy_policy_list_response_t *ret) {
  ret->len = requests->len;
  ret->ptr = calloc(requests->len ? requests->len : 1, sizeof *ret->ptr);
  if (!ret->ptr) abort();
  for (size_t n = 0; n < requests->len; n++) exports_mizzen_policy_policy_review(&requests->ptr[n], &ret->ptr[n]);
  free(requests->ptr);
}

static void decide(uint8_t tag) {
  mizzen_policy_types_decision_free(&answer->decision);
  memset(&answer->decision, 0, sizeof answer->decision);
  answer->decision.tag = tag;
}

void mizzen_deny(const char *format, ...) {
  char message[1024];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  decide(MIZZEN_POLICY_TYPES_DECISION_DENY);
  answer->decision.val.deny.code = 403;
  admission_policy_string_dup(&answer->decision.val.deny.message, message);
}

void mizzen_replace(const char *object) {
  decide(MIZZEN_POLICY_TYPES_DECISION_REPLACE);
  admission_policy_string_dup(&answer->decision.val.replace, object);
}

mizzen_text mizzen_object(const mizzen_policy_types_request_t *request) {
  mizzen_text none = {NULL, 0};
  mizzen_text object = {(const char *)request->object.val.ptr, request->object.val.len};
  return request->object.is_some ? object : none;
}

void mizzen_log(mizzen_plugin_log_level_t level, const char *line) {
  admission_policy_string_t text;
  admission_policy_string_set(&text, line);
  mizzen_plugin_log_write(level, &text);
}

// The bindings ask for an object file that says which world this is; `mizzen plugin build` says so instead.
void __component_type_object_force_link_admission_policy(void) {}
