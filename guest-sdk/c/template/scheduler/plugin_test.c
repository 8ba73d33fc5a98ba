#include "sdk/mizzen_scheduler_testing.h"

#undef NDEBUG
#include <assert.h>

int main(void) {
  assert(mizzen_configure(mizzen_test_text("{\"label\": \"zone\"}")));
  assert(!mizzen_configure(mizzen_test_text("{\"label\": \"zone\", \"values\": [\"north\", \"south\"]}")));
  mizzen_test_node_text(0, "label/zone", "north");
  mizzen_test_node_text(1, "label/zone", "south");
  mizzen_pod pod = mizzen_test_pod("web");
  assert(mizzen_score(&pod, 0) == 100 && mizzen_score(&pod, 1) == 50);
  assert(mizzen_score(&pod, 2) == 0);
}
