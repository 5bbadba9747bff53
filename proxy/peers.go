package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"etcd2/internal/disk"
)

// Peers is the file in which a proxy keeps the peer URLs of its cluster, so that
// it finds the members again after a restart. That there is such a file, or its
// directory, also tells that a data directory belongs to a proxy.
type Peers struct {
	dir  string
	urls []string // as found
}

// peersForm is the content of the file.
type peersForm struct {
	PeerURLs []string
}

// OpenPeers makes the directory "proxy" in the data directory, unless there is
// one, and reads the list in it. A file that is no such list is an error: the
// person who put it there has to look at it, or to remove it.
func OpenPeers(dataDir string) (*Peers, error) {
	p := &Peers{dir: filepath.Join(dataDir, "proxy")}
	if err := disk.OS().MkdirAll(p.dir, 0o700); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(p.File())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return p, nil
	case err != nil:
		return nil, err
	}
	if p.urls, err = decodePeers(content); err != nil {
		return nil, fmt.Errorf("cluster file %q: %w", p.File(), err)
	}
	return p, nil
}

func decodePeers(content []byte) ([]string, error) {
	var form peersForm
	if err := json.Unmarshal(content, &form); err != nil {
		return nil, err
	}
	return form.PeerURLs, nil
}

// File is the path of the file.
func (p *Peers) File() string { return filepath.Join(p.dir, "cluster") }

// URLs returns the peer URLs that OpenPeers found, sorted if a proxy wrote them,
// and none when there was no list. Callers only read the slice.
func (p *Peers) URLs() []string { return p.urls }

// save replaces the list, which is durable when save returns nil. A crash leaves
// the old one or the new one. A file that has this list already is left alone.
func (p *Peers) save(urls []string) error {
	content, err := json.Marshal(peersForm{slices.Sorted(slices.Values(urls))})
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(p.File()); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil { // somebody may have tidied up
		return err
	}
	next := p.File() + ".bak"
	if err := write(next, content); err != nil {
		return err
	}
	if err := disk.OS().Rename(next, p.File()); err != nil {
		return err
	}
	return disk.OS().SyncDir(p.dir)
}

// write makes a file of this content.
func write(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(content))
	return errors.Join(err, f.Sync(), f.Close())
}
