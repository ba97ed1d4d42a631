/// SIGINT and SIGTERM as a flag: long work looks at it between pieces and ends in order.
#pragma once

namespace fairway {

/// Makes the first SIGINT or SIGTERM set the flag; a second one ends the process at once. Call once, in main.
void install_interrupt_handler();

/// Whether the flag is set.
bool interrupted();

}  // namespace fairway
