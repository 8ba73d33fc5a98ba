#ifndef __wasm__

#include "mizzen_policy_testing.h"

#include <string.h>

static exports_mizzen_policy_policy_response_t response;
static char message[1024], object_after[1 << 16], wrong[1024];

static const char *copy(char *to, size_t size, admission_policy_string_t from) {
  size_t len = from.len < size ? from.len : size - 1;
  memcpy(to, from.ptr, len);
  to[len] = 0;
  return to;
}

static admission_policy_string_t owned(const char *text) {
  admission_policy_string_t string;
  admission_policy_string_dup(&string, text);
  return string;
}

// The text of a string within the object, empty where there is none.
static admission_policy_string_t text_of(mizzen_text value) {
  char text[1024];
  mizzen_json_string(value, text, sizeof text);
  return owned(text);
}

const char *mizzen_test_settings(const char *settings) {
  admission_policy_string_t given = owned(settings), why;
  if (!exports_mizzen_policy_policy_validate_settings(&given, &why)) {
    copy(wrong, sizeof wrong, why);
    admission_policy_string_free(&why);
    return wrong;
  }
  given = owned(settings);
  exports_mizzen_policy_policy_description_t description;
  exports_mizzen_policy_policy_configure(&given, &description);
  exports_mizzen_policy_policy_description_free(&description);
  return NULL;
}

static mizzen_answer ask(mizzen_policy_types_operation_t operation, const char *old, const char *object) {
  const char *any = object ? object : old;
  mizzen_text it = {any, strlen(any)};
  exports_mizzen_policy_policy_request_t request;
  memset(&request, 0, sizeof request);
  request.operation = operation;
  request.uid = owned("test");
  request.user.name = owned("tester");
  request.name = text_of(mizzen_json_path(it, "metadata", "name", NULL));
  request.namespace_ = text_of(mizzen_json_path(it, "metadata", "namespace", NULL));
  char version[320];
  mizzen_json_string(mizzen_json_member(it, "apiVersion"), version, sizeof version);
  char *slash = strchr(version, '/');
  request.kind.version = owned(slash ? slash + 1 : version);
  if (slash) *slash = 0;
  request.kind.group = owned(slash ? version : "");
  request.kind.kind = text_of(mizzen_json_member(it, "kind"));
  request.object.is_some = object != NULL;
  if (object) request.object.val = owned(object);
  request.old_object.is_some = old != NULL;
  if (old) request.old_object.val = owned(old);

  exports_mizzen_policy_policy_response_free(&response);
  exports_mizzen_policy_policy_review(&request, &response);
  mizzen_answer answer = {response.decision.tag != MIZZEN_POLICY_TYPES_DECISION_DENY, NULL, NULL};
  if (!answer.allowed) answer.message = copy(message, sizeof message, response.decision.val.deny.message);
  if (response.decision.tag == MIZZEN_POLICY_TYPES_DECISION_REPLACE) {
    answer.object = copy(object_after, sizeof object_after, response.decision.val.replace);
  }
  return answer;
}

mizzen_answer mizzen_test_create(const char *object) { return ask(MIZZEN_POLICY_TYPES_OPERATION_CREATE, NULL, object); }

mizzen_answer mizzen_test_update(const char *old, const char *object) { return ask(MIZZEN_POLICY_TYPES_OPERATION_UPDATE, old, object); }

mizzen_answer mizzen_test_delete(const char *old) { return ask(MIZZEN_POLICY_TYPES_OPERATION_DELETE, old, NULL); }

#else
// A file of C holds something.
typedef int mizzen_policy_testing;
#endif
