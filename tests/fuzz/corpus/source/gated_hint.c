#include <stdint.h>

typedef struct { uint16_t top; uint32_t length; } State;

/* The hint for position i is only given if token i itself starts no new word. */
void hints(State *state, const uint16_t *tokens, int64_t count, const uint8_t *starts_word, uint16_t *within_top, uint8_t *within_valid) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t token = tokens[i];
    const uint8_t is_new = starts_word[token];
    if (!is_new && state->length > 0) {
      within_top[i] = state->top;
      within_valid[i] = 1;
    } else {
      within_valid[i] = 0;
    }
    state->top = token;
    ++state->length;
  }
}
