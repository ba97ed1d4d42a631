// Checks a log of Fairway with software that is not Fairway's: golang.org/x/mod/sumdb/note verifies the checkpoint, and
// golang.org/x/mod/sumdb/tlog the tiles, the inclusion of every entry and the consistency of every earlier size.
//
//	check_log DIR VKEY [PROOF...]
//
// PROOFs are .tlog-proof files that carry their entry; they are checked against the same root.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "check_log:", err)
		os.Exit(1)
	}
}

func fail(format string, args ...interface{}) { check(fmt.Errorf(format, args...)) }

// openCheckpoint returns the tree of a checkpoint signed by the key.
func openCheckpoint(text []byte, verifier note.Verifier) tlog.Tree {
	n, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	lines := strings.SplitN(n.Text, "\n", 4)
	if len(lines) != 4 || lines[0] != verifier.Name() {
		fail("origin %q, expected %q", lines[0], verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

// tlogPath is a tile's path under C2SP tlog-tiles: that of sumdb without the height, entries instead of data.
func tlogPath(t tlog.Tile) string {
	return strings.Replace(strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", height)), "data/", "entries/", 1)
}

type folder struct{ dir string }

func (f folder) Height() int { return height }
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		data, err := os.ReadFile(filepath.Join(f.dir, "tile", tlogPath(t)))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}
func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

// entries splits one bundle.
func entries(data []byte) [][]byte {
	var out [][]byte
	for len(data) > 0 {
		n := 2 + int(binary.BigEndian.Uint16(data))
		if n > len(data) {
			fail("a bundle is cut off")
		}
		out = append(out, data[2:n])
		data = data[n:]
	}
	return out
}

// checkProof verifies a self-contained .tlog-proof.
func checkProof(path string, verifier note.Verifier) {
	text, err := os.ReadFile(path)
	check(err)
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("%s: no tlog-proof", path)
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		h, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, h)
	}
	tree := openCheckpoint([]byte(checkpoint), verifier)
	check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
}

func main() {
	dir, vkey := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(vkey)
	check(err)
	text, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	check(err)
	tree := openCheckpoint(text, verifier)

	// The reader checks every tile it hands out against the root.
	reader := tlog.TileHashReader(tree, folder{dir})
	count := int64(0)
	for n := int64(0); n*256 < tree.N; n++ {
		width := tree.N - n*256
		if width > 256 {
			width = 256
		}
		data, err := folder{dir}.ReadTiles([]tlog.Tile{{H: height, L: -1, N: n, W: int(width)}})
		check(err)
		for _, entry := range entries(data[0]) {
			hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, count)})
			check(err)
			if hashes[0] != tlog.RecordHash(entry) {
				fail("entry %d is not the one in the tree", count)
			}
			proof, err := tlog.ProveRecord(tree.N, count, reader)
			check(err)
			check(tlog.CheckRecord(proof, tree.N, tree.Hash, count, tlog.RecordHash(entry)))
			count++
		}
	}
	if count != tree.N {
		fail("%d entries, the checkpoint says %d", count, tree.N)
	}
	for size := int64(1); size <= tree.N; size++ {
		old, err := tlog.TreeHash(size, reader)
		check(err)
		proof, err := tlog.ProveTree(tree.N, size, reader)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, size, old))
	}
	for _, path := range os.Args[3:] {
		checkProof(path, verifier)
	}
	fmt.Printf("%d entries, %d proofs, root %v\n", tree.N, len(os.Args)-3, tree.Hash)
}
