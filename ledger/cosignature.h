/// Cosignatures of witnesses (C2SP tlog-cosignature, the Ed25519 form): "as of this time, this is the largest
/// consistent tree of the log that I have seen".
#pragma once

#include <cstdint>
#include <string>

#include "ledger/checkpoint.h"

namespace fairway::ledger {

/// The message a witness signs: "cosignature/v1", the time, and the whole text of the checkpoint.
std::string cosigned_message(const Checkpoint& checkpoint, uint64_t posix_seconds);

/// The witness's line for a checkpoint.
SignatureLine cosign(const Checkpoint& checkpoint, const std::string& witness, const PrivateKey& key,
                     uint64_t posix_seconds);

/// The time of the newest valid cosignature of `witness`; nothing if it has not cosigned; kDisproved if any line under
/// its name and id is false. `witness` must be of type kCosignature.
Result<std::optional<uint64_t>> verify_cosignature(const Checkpoint& checkpoint, const VerifierKey& witness,
                                                   const std::string& where);

}  // namespace fairway::ledger
