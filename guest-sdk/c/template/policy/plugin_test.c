#include "sdk/mizzen_policy_testing.h"

#undef NDEBUG
#include <assert.h>
#include <string.h>

int main(void) {
  assert(mizzen_test_settings("{}"));
  assert(!mizzen_test_settings("{\"labels\": [\"team\"]}"));
  assert(mizzen_test_create("{\"kind\": \"Pod\", \"metadata\": {\"name\": \"web\", \"labels\": {\"team\": \"shop\"}}}").allowed);
  mizzen_answer answer = mizzen_test_create("{\"kind\": \"Pod\", \"metadata\": {\"name\": \"web\"}}");
  assert(!answer.allowed && strcmp(answer.message, "missing labels: team") == 0);
}
