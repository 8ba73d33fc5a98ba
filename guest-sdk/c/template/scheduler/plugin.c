#include "sdk/mizzen_scheduler.h"

#include <stdio.h>

// Prefers nodes by the value of a label: the first of the settings' values scores best.

enum { MOST = 32 };

const uint8_t mizzen_points = MIZZEN_SCORE;
static char values[MOST][64];
static int count, label;

const char *mizzen_configure(mizzen_text settings) {
  char key[320], name[328];
  if (!mizzen_json_string(mizzen_json_member(settings, "label"), key, sizeof key)) return "settings: label is missing";
  mizzen_text list = mizzen_json_member(settings, "values"), value = {0};
  while (count < MOST && mizzen_json_next(list, &value)) mizzen_json_string(value, values[count++], sizeof values[0]);
  if (!count) return "values: name at least one";
  snprintf(name, sizeof name, "label/%s", key);
  label = mizzen_column(name);
  return NULL;
}

int64_t mizzen_score(const mizzen_pod *pod, uint32_t row) {
  (void)pod;
  mizzen_text value;
  if (!mizzen_text_at(label, row, &value)) return 0;
  for (int place = 0; place < count; place++) {
    if (mizzen_text_is(value, values[place])) return 100 * (count - place) / count;
  }
  return 0;
}
