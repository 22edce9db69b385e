#pragma once

#include <vector>

#include "arch/arch.h"

namespace nibble {

/// What stands at the residual stream of an architecture, told by the roles of its matrices.
struct ResidualStream {
  struct Reader {
    Role role;
    /// Canonical stem within the layer of the RMS norm that stands between; empty: none.
    std::string_view gain;
  };
  std::vector<Reader> readers;  ///< within the layers
  std::vector<Role> writers;    ///< their outputs are added to the stream as they are
};

/// Follows the steps of a layer. The stream can be turned by any orthogonal matrix without a change of the
/// model's function if all that is between it and matrices are RMS norms (Ashkboos et al., arXiv 2401.15024).
/// Throws Error{unsupported}, saying which step of the architecture does not allow it.
ResidualStream residual_stream(const Arch& arch, const Hparams& h);

}  // namespace nibble
