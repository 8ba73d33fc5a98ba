// Unit tests of an admission policy: a program of this machine (`make test`), no Wasm.
#ifndef MIZZEN_POLICY_TESTING_H
#define MIZZEN_POLICY_TESTING_H

#include "mizzen_policy.h"

// What becomes of a request. Its texts stand until the next request.
typedef struct {
  bool allowed;
  // Why it was denied, or a null pointer.
  const char *message;
  // The JSON that takes its object's place, or a null pointer.
  const char *object;
} mizzen_answer;

// Null, or what is wrong with the settings (JSON). They hold for the requests that follow.
const char *mizzen_test_settings(const char *settings);

// Asks about the creation of an object (JSON), about its change, about its deletion.
mizzen_answer mizzen_test_create(const char *object);
mizzen_answer mizzen_test_update(const char *old, const char *object);
mizzen_answer mizzen_test_delete(const char *old);

#endif
