#pragma once

namespace nibble {

/// Makes SIGINT and SIGTERM set a flag instead of ending the process; a second SIGINT ends it at once.
void catch_interrupts();

/// True once the user asked to stop.
bool interrupted() noexcept;

/// Throws Error{interrupted} once the user asked to stop. Long loops call it between steps.
void check_interrupt();

}  // namespace nibble
