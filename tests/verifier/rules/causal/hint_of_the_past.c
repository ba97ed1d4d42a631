#include <stdint.h>

typedef struct { uint16_t top; uint32_t length; } State;

/* The hint for position i depends on tokens before i; token i enters the state after it. */
void hints(State *state, const uint16_t *tokens, int64_t count, const uint8_t *starts_word, uint16_t *within_top, uint8_t *within_valid) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t token = tokens[i];
    const uint8_t is_new = starts_word[token];
    if (state->length > 0) {
      within_top[i] = state->top;
      within_valid[i] = 1;
    }
    if (is_new) {
      state->length = 0;
    }
    state->top = token;
    ++state->length;
  }
}
