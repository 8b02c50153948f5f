// Command interop reads our files with the Go project's own transparency log code, golang.org/x/mod/sumdb.
//
//	interop log DIR        check the log that is laid out under DIR as C2SP tlog-tiles; print proofs as JSON
//	interop vectors FILE   check the proofs of a merkle.json; print one verdict per case as JSON
//	interop notes FILE     open the notes of a note.json; print one text or error per case as JSON
//	interop sign NAME      sign standard input with a new key; print vkey and base64 note as JSON
//
// It is built without modules (GO111MODULE=off) from the Debian packages golang-go and golang-golang-x-mod-dev.
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: interop log|vectors|notes|sign ARGUMENT"))
	}
	var answer interface{}
	var err error
	switch argument := os.Args[2]; os.Args[1] {
	case "log":
		answer, err = checkLog(argument)
	case "vectors":
		answer, err = checkVectors(argument)
	case "notes":
		answer, err = openNotes(argument)
	case "sign":
		answer, err = sign(argument)
	default:
		err = fmt.Errorf("no such command: %s", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "interop:", err)
	os.Exit(1)
}

// directory reads tiles at the paths of C2SP tlog-tiles, which are Go's without the height.
type directory struct {
	path  string
	reads map[string]bool
}

func (d directory) Height() int { return tileHeight }

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight))
		data, err := os.ReadFile(filepath.Join(d.path, path))
		if err != nil {
			return nil, err
		}
		d.reads[path] = true
		all = append(all, data)
	}
	return all, nil
}

type logAnswer struct {
	Origin      string              `json:"origin"`
	Size        int64               `json:"size"`
	Root        string              `json:"root"`
	Inclusion   map[string][]string `json:"inclusion"`
	Consistency map[string][]string `json:"consistency"`
	TilesRead   int                 `json:"tiles_read"`
}

// checkLog opens the checkpoint, authenticates every tile against it, and checks leaves and older roots.
func checkLog(path string) (*logAnswer, error) {
	text, err := openCheckpoint(path)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return nil, fmt.Errorf("the checkpoint has %d lines", len(lines)-1)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return nil, err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return nil, err
	}
	tiles := directory{path, map[string]bool{}}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles)
	answer := &logAnswer{lines[0], size, hex.EncodeToString(root[:]), map[string][]string{}, map[string][]string{}, 0}
	if err := checkLeaves(path, size, root, reader, answer); err != nil {
		return nil, err
	}
	if err := checkOlderRoots(path, size, root, reader, answer); err != nil {
		return nil, err
	}
	answer.TilesRead = len(tiles.reads)
	return answer, nil
}

func openCheckpoint(path string) (string, error) {
	vkey, err := os.ReadFile(filepath.Join(path, "vkey"))
	if err != nil {
		return "", err
	}
	verifier, err := note.NewVerifier(string(vkey))
	if err != nil {
		return "", err
	}
	signed, err := os.ReadFile(filepath.Join(path, "checkpoint"))
	if err != nil {
		return "", err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return "", err
	}
	return opened.Text, nil
}

// checkLeaves proves each leaf that the file indexes.json names; its bytes come from the entry bundle.
func checkLeaves(path string, size int64, root tlog.Hash, reader tlog.HashReader, answer *logAnswer) error {
	var indexes []int64
	if err := readJSON(filepath.Join(path, "indexes.json"), &indexes); err != nil {
		return err
	}
	for _, index := range indexes {
		leaves, err := readBundle(path, index/256, size)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(size, index, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(leaves[index%256])); err != nil {
			return fmt.Errorf("leaf %d: %v", index, err)
		}
		answer.Inclusion[strconv.FormatInt(index, 10)] = digits(proof)
	}
	return nil
}

func readBundle(path string, n, size int64) ([][]byte, error) {
	width := size - n*256
	if width > 256 {
		width = 256
	}
	tile := tlog.Tile{H: tileHeight, L: 0, N: n, W: int(width)}
	name := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/0/", tileHeight))
	data, err := os.ReadFile(filepath.Join(path, "tile/entries", name))
	if err != nil {
		return nil, err
	}
	var leaves [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(data[0])<<8+int(data[1]) {
			return nil, fmt.Errorf("bundle %d is torn", n)
		}
		end := 2 + int(data[0])<<8 + int(data[1])
		leaves = append(leaves, data[2:end])
		data = data[end:]
	}
	if int64(len(leaves)) != width {
		return nil, fmt.Errorf("bundle %d has %d leaves, not %d", n, len(leaves), width)
	}
	return leaves, nil
}

// checkOlderRoots proves that the tree begins with each older tree that the file roots.json names.
func checkOlderRoots(path string, size int64, root tlog.Hash, reader tlog.HashReader, answer *logAnswer) error {
	var roots map[string]string
	if err := readJSON(filepath.Join(path, "roots.json"), &roots); err != nil {
		return err
	}
	for key, text := range roots {
		old, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			return err
		}
		oldRoot, err := tlog.ParseHash(text)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(size, old, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, size, root, old, oldRoot); err != nil {
			return fmt.Errorf("tree of %d: %v", old, err)
		}
		answer.Consistency[key] = digits(proof)
	}
	return nil
}

type merkleVectors struct {
	Inclusion []struct {
		Index    int64    `json:"index"`
		Size     int64    `json:"size"`
		LeafHash string   `json:"leaf_hash"`
		Proof    []string `json:"proof"`
		Root     string   `json:"root"`
	} `json:"inclusion"`
	Consistency []struct {
		OldSize int64    `json:"old_size"`
		NewSize int64    `json:"new_size"`
		OldRoot string   `json:"old_root"`
		NewRoot string   `json:"new_root"`
		Proof   []string `json:"proof"`
	} `json:"consistency"`
}

// checkVectors says of each case whether it verifies; a hash that is not 32 bytes long never does.
func checkVectors(path string) (map[string][]bool, error) {
	var vectors merkleVectors
	if err := readJSON(path, &vectors); err != nil {
		return nil, err
	}
	answer := map[string][]bool{}
	for _, c := range vectors.Inclusion {
		proof, ok := hashes(append([]string{c.LeafHash, c.Root}, c.Proof...))
		ok = ok && tlog.CheckRecord(proof[2:], c.Size, proof[1], c.Index, proof[0]) == nil
		answer["inclusion"] = append(answer["inclusion"], ok)
	}
	for _, c := range vectors.Consistency {
		proof, ok := hashes(append([]string{c.OldRoot, c.NewRoot}, c.Proof...))
		ok = ok && tlog.CheckTree(proof[2:], c.NewSize, proof[1], c.OldSize, proof[0]) == nil
		answer["consistency"] = append(answer["consistency"], ok)
	}
	return answer, nil
}

type noteVectors struct {
	Notes []struct {
		Note  string   `json:"note"`
		Vkeys []string `json:"vkeys"`
	} `json:"notes"`
}

// openNotes returns the text of each note, or null where it does not open.
func openNotes(path string) ([]*string, error) {
	var vectors noteVectors
	if err := readJSON(path, &vectors); err != nil {
		return nil, err
	}
	var texts []*string
	for _, c := range vectors.Notes {
		var known []note.Verifier
		for _, vkey := range c.Vkeys {
			verifier, err := note.NewVerifier(vkey)
			if err != nil {
				return nil, err
			}
			known = append(known, verifier)
		}
		if opened, err := note.Open([]byte(c.Note), note.VerifierList(known...)); err == nil {
			texts = append(texts, &opened.Text)
		} else {
			texts = append(texts, nil)
		}
	}
	return texts, nil
}

func sign(name string) (map[string]string, error) {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		return nil, err
	}
	return map[string]string{"vkey": vkey, "note": base64.StdEncoding.EncodeToString(signed)}, nil
}

func readJSON(path string, into interface{}) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func digits(proof []tlog.Hash) []string {
	all := []string{}
	for _, hash := range proof {
		all = append(all, hex.EncodeToString(hash[:]))
	}
	return all
}

func hashes(texts []string) ([]tlog.Hash, bool) {
	all := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		data, err := hex.DecodeString(text)
		if err != nil || len(data) != tlog.HashSize {
			return nil, false
		}
		copy(all[i][:], data)
	}
	return all, true
}
