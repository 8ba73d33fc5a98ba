#include "mizzen_policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mizzen_text settings;
static exports_mizzen_policy_policy_response_t *answer;
// What `mizzen_namespace` found during the review.
static admission_policy_string_t found;

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
  admission_policy_string_free(&found);
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

void mizzen_warn(const char *format, ...) {
  char message[1024];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  admission_policy_list_string_t *warnings = &answer->warnings;
  warnings->ptr = realloc(warnings->ptr, (warnings->len + 1) * sizeof *warnings->ptr);
  if (!warnings->ptr) abort();
  admission_policy_string_dup(&warnings->ptr[warnings->len++], message);
}

static mizzen_text text_of(const admission_policy_string_t *string) {
  mizzen_text text = {(const char *)string->ptr, string->len};
  return text;
}

static mizzen_text maybe(const admission_policy_option_string_t *string) {
  mizzen_text none = {NULL, 0};
  return string->is_some ? text_of(&string->val) : none;
}

mizzen_operation mizzen_request_operation(const mizzen_request *request) { return (mizzen_operation)request->operation; }

mizzen_text mizzen_object(const mizzen_request *request) { return maybe(&request->object); }

mizzen_text mizzen_old_object(const mizzen_request *request) { return maybe(&request->old_object); }

mizzen_text mizzen_request_kind(const mizzen_request *request) { return text_of(&request->kind.kind); }

mizzen_text mizzen_request_name(const mizzen_request *request) { return text_of(&request->name); }

mizzen_text mizzen_request_namespace(const mizzen_request *request) { return text_of(&request->namespace_); }

mizzen_text mizzen_request_user(const mizzen_request *request) { return text_of(&request->user.name); }

mizzen_text mizzen_namespace(const mizzen_request *request) {
  admission_policy_string_t name = request->namespace_;
  mizzen_text none = {NULL, 0};
  admission_policy_string_free(&found);
  return mizzen_policy_context_namespace(&name, &found) ? text_of(&found) : none;
}

bool mizzen_text_is(mizzen_text text, const char *other) {
  return text.ptr && text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

static admission_policy_string_t named(const char *text) {
  admission_policy_string_t string;
  admission_policy_string_set(&string, text);
  return string;
}

void mizzen_log(mizzen_level level, const char *line) {
  admission_policy_string_t text = named(line);
  mizzen_plugin_log_write((mizzen_plugin_log_level_t)level, &text);
}

uint64_t mizzen_now(void) { return mizzen_plugin_clock_now(); }

uint64_t mizzen_monotonic(void) { return mizzen_plugin_clock_monotonic(); }

void mizzen_random(void *out, uint32_t size) {
  admission_policy_list_u8_t bytes = {0};
  mizzen_plugin_random_bytes(size, &bytes);
  if (bytes.ptr) memcpy(out, bytes.ptr, bytes.len < size ? bytes.len : size);
  admission_policy_list_u8_free(&bytes);
}

void mizzen_count(const char *name, double amount) {
  admission_policy_string_t text = named(name);
  mizzen_plugin_metrics_count(&text, amount);
}

void mizzen_gauge(const char *name, double value) {
  admission_policy_string_t text = named(name);
  mizzen_plugin_metrics_gauge(&text, value);
}

// The bindings ask for an object file that says which world this is; `mizzen plugin build` says so instead.
void __component_type_object_force_link_admission_policy(void) {}
