/// What the tables of bytes per token, and the tokenizers they belong to, say about a record's byte accounting.
#pragma once

#include "verifier/audit/facts.h"
#include "verifier/report/report.h"

namespace fairway::audit {

/// Makes `check`, which holds what the logs say, graver where a table or a tokenizer shows more.
///
/// Each table is compared, token by token, with every tokenizer that has as many pieces; one that gives a token more
/// bytes than its piece has makes bpb too low. `logs_fit`: the logs imply the bytes of the validation text.
/// `logs_count_more`: they imply more, which confirms a wrong table.
void judge_byte_tables(const Facts& facts, bool logs_fit, bool logs_count_more, verifier::Check& check);

}  // namespace fairway::audit
