#include "base/error.h"

namespace nibble {

int Error::exit_code() const noexcept {
  switch (kind_) {
    case ErrorKind::usage:
      return 2;
    case ErrorKind::bad_input:
    case ErrorKind::io:
      return 3;
    case ErrorKind::unsupported:
      return 4;
    case ErrorKind::interrupted:
      return 130;
    case ErrorKind::internal:
      return 1;
  }
  return 1;
}

}  // namespace nibble
