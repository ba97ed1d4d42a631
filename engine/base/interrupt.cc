#include "engine/base/interrupt.h"

#include <csignal>

namespace fairway {
namespace {

volatile sig_atomic_t interrupt_requested = 0;

void request_interrupt(int) { interrupt_requested = 1; }

}  // namespace

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = request_interrupt;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return interrupt_requested != 0; }

}  // namespace fairway
