package proxy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func openPeers(t *testing.T, dir string) *Peers {
	t.Helper()
	p, err := OpenPeers(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPeersAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := openPeers(t, dir)
	if urls := p.URLs(); len(urls) != 0 {
		t.Errorf("a new directory has the URLs %v", urls)
	}
	if err := p.save([]string{"http://b:2380", "http://a:2380"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "proxy", "cluster")
	content, err := os.ReadFile(file)
	if want := `{"PeerURLs":["http://a:2380","http://b:2380"]}`; err != nil || string(content) != want {
		t.Errorf("the file is %q, %v, want %q", content, err, want)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("mode of %s: %v, %v, want %o", name, info, err, want)
			}
		}
	}
	if got, want := openPeers(t, dir).URLs(), []string{"http://a:2380", "http://b:2380"}; !slices.Equal(got, want) {
		t.Errorf("found %v again, want %v", got, want)
	}
}

// A crash may leave the file that was to become the next one.
func TestPeersSurviveACrash(t *testing.T) {
	dir := t.TempDir()
	p := openPeers(t, dir)
	if err := p.save([]string{"http://a:2380"}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.File()+".bak", []byte(`{"Peer`), 0o600); err != nil {
		t.Fatal(err)
	}
	p = openPeers(t, dir)
	if got := p.URLs(); !slices.Equal(got, []string{"http://a:2380"}) {
		t.Errorf("found %v", got)
	}
	if err := p.save([]string{"http://c:2380"}); err != nil {
		t.Fatal(err)
	}
	if got := openPeers(t, dir).URLs(); !slices.Equal(got, []string{"http://c:2380"}) {
		t.Errorf("found %v", got)
	}
	if _, err := os.Stat(p.File() + ".bak"); !os.IsNotExist(err) {
		t.Errorf("the next file is still there: %v", err)
	}
}

func TestPeersRefuseWhatIsNoList(t *testing.T) {
	for content, want := range map[string]string{
		"{{{":                `invalid character '{'`,
		"":                   "unexpected end of JSON input",
		`{"PeerURLs":"a"}`:   "cannot unmarshal string",
		`{"PeerURLs":["a"]}`: "",
		`{"PeerURLs":null}`:  "",
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "proxy"), 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "proxy", "cluster")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenPeers(dir)
		switch {
		case want == "" && err != nil:
			t.Errorf("OpenPeers with %q: %v", content, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file)):
			t.Errorf("OpenPeers with %q: %v, want the file and %q", content, err, want)
		}
	}
}

func FuzzDecodePeers(f *testing.F) {
	f.Add([]byte(`{"PeerURLs":["http://a:2380"]}`))
	f.Add([]byte(`{"PeerURLs":[null]}`))
	f.Add([]byte(`{{{`))
	f.Fuzz(func(t *testing.T, content []byte) {
		urls, err := decodePeers(content)
		if err != nil {
			return
		}
		written, err := json.Marshal(peersForm{urls})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodePeers(written); err != nil || !slices.Equal(again, urls) {
			t.Errorf("decodePeers(%q) = %q, %v, want %q", written, again, err, urls)
		}
	})
}
