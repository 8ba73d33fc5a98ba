#include "sdk/mizzen_policy.h"

#include <string.h>

const bool mizzen_mutating = false;

const char *mizzen_validate(mizzen_text settings) {
  return mizzen_json_is_array(mizzen_json_member(settings, "labels")) ? NULL : "settings: labels is missing";
}

void mizzen_review(const mizzen_request *request, mizzen_text settings) {
  mizzen_text labels = mizzen_json_path(mizzen_object(request), "metadata", "labels", NULL);
  mizzen_text wanted = mizzen_json_member(settings, "labels"), label = {0};
  char missing[512] = "";
  while (mizzen_json_next(wanted, &label)) {
    char key[320], value[64];
    mizzen_json_string(label, key, sizeof key);
    mizzen_json_string(mizzen_json_member(labels, key), value, sizeof value);
    if (*value || strlen(missing) + strlen(key) + 3 > sizeof missing) continue;
    strcat(strcat(missing, *missing ? ", " : ""), key);
  }
  if (*missing) mizzen_deny("missing labels: %s", missing);
}
