/// Entries of the log: a statement in a DSSE envelope, in canonical JSON throughout.
#pragma once

#include <string>
#include <string_view>

#include "ledger/dsse.h"
#include "ledger/statement.h"
#include "ledger/tile.h"

namespace fairway::ledger {

/// Signs a statement, whose text must be canonical JSON of the shape in statement.h. kData, naming offset or key, if it
/// is not, or if the entry would be longer than kMaxEntryBytes.
Result<std::string> make_entry(std::string_view statement_text, const PrivateKey& key, const std::string& where);
/// The same for a statement that a program has put together.
Result<std::string> make_entry(const Statement& statement, const PrivateKey& key, const std::string& where);

/// The statement of an entry. kData if the entry or its statement is malformed or not canonical; kDisproved unless
/// `signer` has signed it.
Result<Statement> read_entry(std::string_view entry, const PublicKey& signer, const std::string& where);

}  // namespace fairway::ledger
