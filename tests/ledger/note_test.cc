#include "ledger/note.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>

#include "ledger/base64.h"
#include "ledger/dsse.h"
#include "ledger/policy.h"
#include "ledger/proof.h"
#include "tests/ledger/support.h"

namespace fairway::ledger {
namespace {

using test::kOrigin;
using test::message;
using test::test_key;
using test::test_vkey;

// The example of the signed-note specification.
const std::string kExampleVkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const std::string kExampleNote =
    "This is an example message.\n\n"
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
// The example of the tlog-cosignature specification, whose keys are not published.
const std::string kExampleCheckpoint =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

TEST(Base64, KnownAnswersOfRfc4648AndNothingElseDecodes) {
  const std::vector<std::pair<std::string, std::string>> known = {{"", ""},
                                                                  {"f", "Zg=="},
                                                                  {"fo", "Zm8="},
                                                                  {"foo", "Zm9v"},
                                                                  {"foob", "Zm9vYg=="},
                                                                  {"fooba", "Zm9vYmE="},
                                                                  {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : known) {
    EXPECT_EQ(base64_encode(bytes), text);
    EXPECT_EQ(base64_decode(text), bytes);
  }
  for (const char* bad : {"Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", " Zm9v", "Zm-v", "Zm_v"}) {
    EXPECT_FALSE(base64_decode(bad)) << bad;
  }
}

RC_GTEST_PROP(Base64, OnlyTheTextThatEncodingGivesDecodes, (std::string bytes, std::string text)) {
  RC_ASSERT(base64_decode(base64_encode(bytes)) == bytes);
  const auto decoded = base64_decode(text);
  if (decoded) {
    RC_ASSERT(base64_encode(*decoded) == text);
  }
}

TEST(Note, TheExampleOfTheSpecificationVerifies) {
  const auto key = parse_vkey(kExampleVkey, "vkey");
  ASSERT_TRUE(key) << message(key);
  EXPECT_EQ(key->name, "example.com/foo");
  EXPECT_EQ(key->id, 0x530d903au);
  EXPECT_EQ(format_vkey(*key), kExampleVkey);
  const auto note = parse_note(kExampleNote, "note");
  ASSERT_TRUE(note) << message(note);
  EXPECT_EQ(note->text, "This is an example message.\n");
  EXPECT_EQ(format_note(*note), kExampleNote);
  const Status status = verify_note(*note, *key, "note");
  EXPECT_TRUE(status) << message(status);
}

TEST(Note, EveryFlippedBitOfTheExampleIsRefused) {
  const auto key = *parse_vkey(kExampleVkey, "vkey");
  for (size_t bit = 0; bit < kExampleNote.size() * 8; ++bit) {
    std::string changed = kExampleNote;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    const auto note = parse_note(changed, "note");
    EXPECT_FALSE(note && verify_note(*note, key, "note")) << "bit " << bit;
  }
}

TEST(Note, NoPartAndNoVariantOfAVkeyIsAccepted) {
  for (size_t begin = 0; begin <= kExampleVkey.size(); ++begin) {
    for (size_t end = begin; end <= kExampleVkey.size(); ++end) {
      if (begin == 0 && end == kExampleVkey.size()) continue;
      EXPECT_FALSE(parse_vkey(kExampleVkey.substr(begin, end - begin), "vkey")) << begin << " to " << end;
    }
  }
  for (size_t bit = 0; bit < kExampleVkey.size() * 8; ++bit) {
    std::string changed = kExampleVkey;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(parse_vkey(changed, "vkey")) << changed;
  }
}

TEST(Note, KeyNamesHoldNoSpaceOfUnicodeAndNoPlus) {
  for (const char* good : {"example.com/log", "a", "Gr\u00f6\u00dfe"}) EXPECT_TRUE(valid_key_name(good)) << good;
  for (const char* bad : {"", "a b", "a+b", "a\tb", "a\u00a0b", "a\u2003b", "\u3000", "a\u2028", "a\x80", "a\xc0\xaf",
                          "\xed\xa0\x80", "a\n"}) {
    EXPECT_FALSE(valid_key_name(bad)) << bad;
  }
}

TEST(Note, MalformedNotesAreRefused) {
  const std::string line = kExampleNote.substr(kExampleNote.find("\u2014"));
  const std::vector<std::string> bad = {"",
                                        "\n",
                                        "text\n",
                                        "text\n\n",
                                        "text\n" + line,
                                        "text\n\n" + line + "more\n",
                                        "text\n\n\u2014 name\n",
                                        "text\n\n- name AAAAAAA=\n",
                                        "text\n\n\u2014 name AAAA\n",
                                        "te\xffxt\n\n" + line,
                                        "te\rxt\n\n" + line,
                                        "te\x01xt\n\n" + line,
                                        "text\n\n" + line.substr(0, line.size() - 1)};
  for (const std::string& text : bad) {
    const auto note = parse_note(text, "note");
    ASSERT_FALSE(note) << text;
    EXPECT_EQ(note.error().code, Errc::kData);
  }
  std::string many = "text\n\n";
  for (size_t i = 0; i < kMaxNoteSignatures; ++i) many += line;
  EXPECT_TRUE(parse_note(many, "note"));
  EXPECT_FALSE(parse_note(many + line, "note"));
  EXPECT_FALSE(parse_note(std::string(kMaxNoteBytes, 'x') + "\n\n" + line, "note"));
}

TEST(Note, SignaturesOfUnknownKeysAreKeptAndIgnoredFalseOnesOfKnownKeysAreNot) {
  Note note{"text\n", {sign_note("text\n", "other", test_key(9)), sign_note("text\n", kOrigin, test_key())}};
  EXPECT_TRUE(verify_note(note, test_vkey(), "note"));
  EXPECT_EQ(parse_note(format_note(note), "note")->signatures, note.signatures);
  const Status unknown = verify_note(note, test_vkey(2), "note");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::kDisproved);
  note.signatures.push_back(note.signatures[1]);
  note.signatures[2].bytes[5] ^= 1;
  EXPECT_FALSE(verify_note(note, test_vkey(), "note")) << "one true signature does not excuse a false one";
}

TEST(Checkpoint, TheExampleOfTheSpecificationIsRead) {
  const auto checkpoint = parse_checkpoint(kExampleCheckpoint, "c");
  ASSERT_TRUE(checkpoint) << message(checkpoint);
  EXPECT_EQ(checkpoint->head.origin, "example.com/behind-the-sofa");
  EXPECT_EQ(checkpoint->head.size, 20852163u);
  EXPECT_EQ(checkpoint->note.signatures.size(), 2u);
  EXPECT_EQ(checkpoint->text(), kExampleCheckpoint);
  // The message of the specification's example, with its time 1679315147.
  EXPECT_EQ(cosigned_message(*checkpoint, 1679315147),
            "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
            "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n");
}

TEST(Checkpoint, MalformedOnesAreRefused) {
  const auto with = [](const std::string& text) {
    return text + "\n" + kExampleCheckpoint.substr(kExampleCheckpoint.find("\u2014"));
  };
  const std::string root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
  EXPECT_TRUE(parse_checkpoint(with("o\n0\n" + root), "c"));
  EXPECT_TRUE(parse_checkpoint(with("o\n9223372036854775807\n" + root), "c"));
  for (const std::string& text :
       {"o\n01\n" + root, "o\n-1\n" + root, "o\n+1\n" + root, "o\n\n" + root, "o\n1 \n" + root, "o\n0x1\n" + root,
        "o\n9223372036854775808\n" + root, "o\n99999999999999999999999\n" + root, "\n1\n" + root, std::string("o\n1\n"),
        std::string("o\n1\nCsUY\n"), "o\n1\n" + root + "extension\n"}) {
    EXPECT_FALSE(parse_checkpoint(with(text), "c")) << text;
  }
}

TEST(Checkpoint, AnotherKeyAndAnotherOriginAreNamed) {
  const Checkpoint checkpoint = sign_checkpoint(TreeHead{kOrigin, 3, leaf_hash("x")}, test_key());
  EXPECT_TRUE(verify_checkpoint(checkpoint, test_vkey(), "c"));
  const Status key = verify_checkpoint(checkpoint, test_vkey(2), "c");
  EXPECT_EQ(key.error().code, Errc::kDisproved);
  EXPECT_NE(key.error().what.find("not signed by"), std::string::npos);
  const Status origin = verify_checkpoint(
      checkpoint, make_verifier_key("other.example", SignatureType::kEd25519, test_key().public_key()), "c");
  EXPECT_EQ(origin.error().code, Errc::kDisproved);
  EXPECT_NE(origin.error().what.find("another log"), std::string::npos);
}

VerifierKey witness_vkey(uint8_t number) {
  return make_verifier_key("w" + std::to_string(number) + ".example", SignatureType::kCosignature,
                           test_key(number).public_key());
}

Checkpoint cosigned_by(const std::vector<uint8_t>& witnesses) {
  Checkpoint checkpoint = sign_checkpoint(TreeHead{kOrigin, 3, leaf_hash("x")}, test_key());
  for (const uint8_t n : witnesses)
    checkpoint.note.signatures.push_back(cosign(checkpoint, witness_vkey(n).name, test_key(n), 1700000000 + n));
  return *parse_checkpoint(checkpoint.text(), "c");
}

TEST(Cosignature, TimeTextAndKeyAreCovered) {
  const Checkpoint checkpoint = cosigned_by({11});
  EXPECT_EQ(**verify_cosignature(checkpoint, witness_vkey(11), "c"), 1700000011u);
  EXPECT_FALSE(**verify_cosignature(checkpoint, witness_vkey(11), "c") == 0);
  EXPECT_FALSE(verify_cosignature(checkpoint, witness_vkey(12), "c")->has_value());
  for (size_t i = 0; i < 72; ++i) {  // 8 bytes of time, 64 of signature
    Checkpoint changed = checkpoint;
    changed.note.signatures[1].bytes[i] ^= 1;
    const auto result = verify_cosignature(changed, witness_vkey(11), "c");
    ASSERT_FALSE(result) << i;
    EXPECT_EQ(result.error().code, Errc::kDisproved);
  }
  // The log's own key under the witness's type signs something else.
  Checkpoint as_note = checkpoint;
  as_note.note.signatures[1] = sign_note(as_note.note.text, witness_vkey(11).name, test_key(11));
  EXPECT_FALSE(verify_cosignature(as_note, witness_vkey(11), "c")->has_value());
}

/// A line of type 0x06, ML-DSA-44, as tlog-cosignature lays it out: key id, time, 2,420 bytes of signature.
SignatureLine ml_dsa_line(const std::string& name, const std::string& public_key) {
  const Digest id = sha256(std::string_view(name + "\n\x06" + public_key));
  return SignatureLine{name, uint32_t{id[0]} << 24 | uint32_t{id[1]} << 16 | uint32_t{id[2]} << 8 | id[3],
                       std::string(8, '\0') + std::string(2420, 's')};
}

TEST(Cosignature, AlgorithmsThatAreNotKnownAreIgnoredAndNeverCount) {
  const std::string key(1312, 'k');
  Checkpoint checkpoint = cosigned_by({11});
  // Both before and behind the others, under a witness's own name and under another one; 16 of them must be taken.
  for (int i = 0; i < 7; ++i) {
    checkpoint.note.signatures.insert(checkpoint.note.signatures.begin(), ml_dsa_line(witness_vkey(11).name, key));
    checkpoint.note.signatures.push_back(ml_dsa_line("w12.example", key));
  }
  const auto read = parse_checkpoint(checkpoint.text(), "c");
  ASSERT_TRUE(read) << message(read);
  EXPECT_EQ(read->note.signatures.size(), 16u);
  EXPECT_EQ(**verify_cosignature(*read, witness_vkey(11), "c"), 1700000011u);
  EXPECT_FALSE(verify_cosignature(*read, witness_vkey(12), "c")->has_value());
  const std::string head = "log " + format_vkey(test_vkey()) + "\nwitness a " + format_vkey(witness_vkey(11)) +
                           "\nwitness b " + format_vkey(witness_vkey(12)) + "\n";
  EXPECT_TRUE(check_policy(*parse_policy(head + "quorum a\n", "p"), *read, "c"));
  EXPECT_FALSE(check_policy(*parse_policy(head + "quorum b\n", "p"), *read, "c"));
  // A witness that could never be counted is refused where it is named.
  const std::string bytes = "\x06" + key;
  const auto policy = parse_policy("witness c w12.example+00000000+" + base64_encode(bytes) + "\nquorum c\n", "p");
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().where, "p:1");
  EXPECT_NE(policy.error().what.find("0x06"), std::string::npos);
  // What witnesses answer with may mix both kinds: only what was checked is published.
  const Checkpoint plain = cosigned_by({});
  const std::string lines = format_signature_line(ml_dsa_line("w11.example", key)) +
                            format_signature_line(cosign(plain, "w11.example", test_key(11), 1700000000));
  const auto cosigned = add_cosignatures(plain, lines, *parse_policy(head + "quorum a\n", "p"), "lines");
  ASSERT_TRUE(cosigned) << message(cosigned);
  EXPECT_EQ(cosigned->note.signatures.size(), 2u);
}

std::string policy_text() {
  std::string text = "# two organisations\n\nlog " + format_vkey(test_vkey()) + " https://log.example/\n";
  for (const uint8_t n : {11, 12, 13, 21, 22}) {
    text += " witness\tn" + std::to_string(n) + "  " + format_vkey(witness_vkey(n)) + "\n";
  }
  return text + "group X 2 n11 n12 n13\ngroup Y any n21 n22\ngroup X-and-Y all X Y\nquorum X-and-Y\n";
}

TEST(Policy, TheQuorumDecides) {
  const auto policy = parse_policy(policy_text(), "p");
  ASSERT_TRUE(policy) << message(policy);
  const auto reached = [&](const std::vector<uint8_t>& witnesses) {
    return static_cast<bool>(check_policy(*policy, cosigned_by(witnesses), "c"));
  };
  EXPECT_TRUE(reached({11, 12, 21}));
  EXPECT_TRUE(reached({22, 13, 12, 11}));
  EXPECT_FALSE(reached({}));
  EXPECT_FALSE(reached({11, 12, 13}));
  EXPECT_FALSE(reached({11, 21, 22}));
  EXPECT_FALSE(reached({11, 11, 21}));  // the same witness twice is one witness
  EXPECT_FALSE(reached({31, 32, 33}));
  EXPECT_EQ(check_policy(*policy, cosigned_by({11, 12, 21}), "c")->cosigned.size(), 3u);
}

TEST(Policy, AFalseCosignatureOfAKnownWitnessIsNeverOverlooked) {
  const auto policy = *parse_policy(policy_text(), "p");
  Checkpoint checkpoint = cosigned_by({11, 12, 13, 21});
  checkpoint.note.signatures[3].bytes[20] ^= 1;
  EXPECT_FALSE(check_policy(policy, checkpoint, "c"));
}

TEST(Policy, WhatTheSpecificationDoesNotAllowIsRefusedWithItsLine) {
  const std::string vkey = format_vkey(test_vkey()), w = format_vkey(witness_vkey(11)),
                    v = format_vkey(witness_vkey(12));
  const std::vector<std::pair<std::string, int>> bad = {{"", 0},
                                                        {"quorum none\nquorum none\n", 2},
                                                        {"quorum w\n", 1},
                                                        {"witness none " + w + "\n", 1},
                                                        {"log " + w + "\n", 1},
                                                        {"witness a " + vkey + "\n", 1},
                                                        {"log " + vkey + "\nlog " + vkey + "\n", 2},
                                                        {"witness a " + w + "\nwitness b " + w + "\n", 2},
                                                        {"witness a " + w + "\nwitness a " + v + "\n", 2},
                                                        {"group g any a\n", 1},
                                                        {"witness a " + w + "\ngroup g 2 a\n", 2},
                                                        {"witness a " + w + "\ngroup g 0 a\n", 2},
                                                        {"witness a " + w + "\ngroup g any\n", 2},
                                                        {"witness a " + w + "\ngroup g any a\ngroup h any a\n", 3},
                                                        {"witness a " + w + "\ngroup g 1x a\n", 2},
                                                        {"hello\n", 1},
                                                        {"quorum none\r\n", 1},
                                                        {"log\n", 1},
                                                        {"quorum\n", 1}};
  for (const auto& [text, line] : bad) {
    const auto policy = parse_policy(text, "p");
    ASSERT_FALSE(policy) << text;
    EXPECT_EQ(policy.error().code, Errc::kData);
    EXPECT_EQ(policy.error().where, line == 0 ? "p" : "p:" + std::to_string(line)) << text;
  }
}

TEST(Proof, FilesAreReadBackAndCutOnesRefused) {
  const InclusionProof proof{"the entry", 7, {leaf_hash("a"), leaf_hash("b")}, cosigned_by({11})};
  const std::string text = format_proof(proof);
  EXPECT_TRUE(text.starts_with("c2sp.org/tlog-proof@v1\nextra dGhlIGVudHJ5\nindex 7\n"));
  const auto parsed = parse_inclusion_proof(text, "p");
  ASSERT_TRUE(parsed) << message(parsed);
  EXPECT_EQ(format_proof(*parsed), text);
  EXPECT_EQ(parsed->extra, "the entry");
  EXPECT_EQ(parsed->hashes, proof.hashes);
  for (size_t size = 0; size < text.size(); ++size) {
    const auto cut = parse_inclusion_proof(std::string_view(text).substr(0, size), "p");
    // A file that ends between two signature lines is a proof with fewer signatures.
    if (cut) {
      EXPECT_EQ(cut->checkpoint.note.signatures.size(), 1u);
    }
  }
  const ConsistencyProof consistency{5, {leaf_hash("a")}, cosigned_by({})};
  const std::string request = format_proof(consistency);
  EXPECT_TRUE(request.starts_with("old 5\n"));
  EXPECT_EQ(format_proof(*parse_consistency_proof(request, "p")), request);
  EXPECT_FALSE(parse_consistency_proof(text, "p"));
  EXPECT_FALSE(parse_inclusion_proof(request, "p"));
  std::string long_proof = "old 5\n";
  for (int i = 0; i < 64; ++i) long_proof += hash_line(leaf_hash("a"));
  EXPECT_FALSE(parse_consistency_proof(long_proof + "\n" + cosigned_by({}).text(), "p"));
}

TEST(Dsse, TheEncodingIsThatOfTheSpecification) {
  EXPECT_EQ(pre_authentication_encoding("http://example.com/HelloWorld", "hello world"),
            "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
}

TEST(Dsse, EveryFlippedBitOfAnEnvelopeIsRefused) {
  const std::string text = envelope_json(sign_envelope(std::string(kInTotoPayloadType), R"({"a":1})", test_key()));
  const auto envelope = parse_envelope(text, "e");
  ASSERT_TRUE(envelope) << message(envelope);
  EXPECT_EQ(envelope_json(*envelope), text);
  EXPECT_TRUE(verify_envelope(*envelope, test_key().public_key(), "e"));
  EXPECT_FALSE(verify_envelope(*envelope, test_key(2).public_key(), "e"));
  const size_t keyid = text.find("\"keyid\":\"") + 9;  // a hint that nobody signs
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    if (bit / 8 >= keyid && bit / 8 < keyid + 64) continue;
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    const auto parsed = parse_envelope(changed, "e");
    EXPECT_FALSE(parsed && verify_envelope(*parsed, test_key().public_key(), "e")) << changed;
  }
}

TEST(Key, Rfc8032KnownAnswer) {
  // RFC 8032, 7.1, TEST 2: the message is one byte, 0x72.
  const std::array<uint8_t, 32> seed = {0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3,
                                        0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab,
                                        0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb};
  const PrivateKey key = PrivateKey::from_seed(seed);
  EXPECT_EQ(hex(key.public_key()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Signature signature = key.sign("\x72");
  Digest first;
  std::copy_n(signature.begin(), 32, first.begin());
  EXPECT_EQ(hex(first), "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da");
  EXPECT_TRUE(verify_ed25519(key.public_key(), "\x72", signature));
}

TEST(Key, NoOtherEncodingOfASignatureAndNoKeyOfSmallOrderVerifies) {
  const Signature good = test_key().sign("message");
  ASSERT_TRUE(verify_ed25519(test_key().public_key(), "message", good));
  for (size_t bit = 0; bit < 512; ++bit) {
    Signature bad = good;
    bad[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    ASSERT_FALSE(verify_ed25519(test_key().public_key(), "message", bad)) << bit;
  }
  // S + L, the order of the group (RFC 8032, 5.1), is the same number there.
  const std::array<uint8_t, 32> order = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                         0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                         0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
  Signature other = good;
  for (unsigned i = 0, carry = 0; i < 32; ++i) {
    carry += unsigned{other[32 + i]} + order[i];
    other[32 + i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  EXPECT_FALSE(verify_ed25519(test_key().public_key(), "message", other));
  // The neutral element as key and as R, with S = 0, satisfies the equation for every message.
  PublicKey neutral{};
  neutral[0] = 1;
  Signature for_anything{};
  for_anything[0] = 1;
  EXPECT_FALSE(verify_ed25519(neutral, "message", for_anything));
}

TEST(Key, FilesArePrivateNeverReplacedAndOpenOnlyWithTheirPassphrase) {
  test::TemporaryDirectory folder;
  const auto none = []() -> std::optional<std::string> { return std::nullopt; };
  const auto say = [](std::string text) { return [text]() -> std::optional<std::string> { return text; }; };
  const std::string plain = folder / "plain.pem", encrypted = folder / "encrypted.pem";
  ASSERT_TRUE(test_key().save(plain, ""));
  ASSERT_TRUE(test_key().save(encrypted, "secret words"));
  struct stat status {};
  ASSERT_EQ(::stat(plain.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(PrivateKey::load(plain, none)->public_key(), test_key().public_key());
  EXPECT_EQ(PrivateKey::load(encrypted, say("secret words"))->public_key(), test_key().public_key());
  const auto refused = [&](const std::string& path, const PrivateKey::Passphrase& passphrase, const char* words) {
    const auto key = PrivateKey::load(path, passphrase);
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().code, Errc::kData);
    EXPECT_NE(key.error().what.find(words), std::string::npos) << key.error().what;
  };
  refused(encrypted, none, "is encrypted");
  refused(encrypted, say("other words"), "does not open");
  EXPECT_EQ(test_key(2).save(plain, "").error().code, Errc::kUsage);
  EXPECT_EQ(PrivateKey::load(plain, none)->public_key(), test_key().public_key());
  EXPECT_EQ(PrivateKey::load(folder / "absent.pem", none).error().code, Errc::kNoInput);
  test::spill(folder / "text.pem", "hello");
  ASSERT_EQ(::chmod((folder / "text.pem").c_str(), 0600), 0);
  refused(folder / "text.pem", none, "no private key");
  ASSERT_EQ(::chmod(plain.c_str(), 0640), 0);
  refused(plain, none, "chmod 600");
}

}  // namespace
}  // namespace fairway::ledger
