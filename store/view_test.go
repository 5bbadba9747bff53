package store

import (
	"fmt"
	"slices"
	"testing"
)

func TestGet(t *testing.T) {
	s := after(t, someFile, someDir)
	tests := []struct {
		path  string
		code  Code
		cause string
	}{
		{path: "/1/f"}, {path: "/1/d"}, {path: "/1"}, {path: "/"},
		{"/1/x", KeyNotFound, "/1/x"},
		{"/1/x/y", KeyNotFound, "/1/x"},
		{"/1/d/x/y", KeyNotFound, "/1/d/x"},
		{"/1/f/x/y", NotDir, "/1/f"},
		{"/3/x", KeyNotFound, "/3"},
	}
	for _, tt := range tests {
		v, err := s.Get(tt.path)
		var refusal Error
		if e, ok := err.(*Error); ok {
			refusal = *e
			if v.Node != nil {
				t.Errorf("Get(%q) refuses and finds %+v", tt.path, v.Node)
			}
		} else if v.Node.Path != tt.path || v.Index != 2 {
			t.Errorf("Get(%q) = %+v at %d, want it at 2", tt.path, v.Node, v.Index)
		}
		if refusal.Code != tt.code || refusal.Cause != tt.cause || tt.code != 0 && refusal.Index != 2 {
			t.Errorf("Get(%q) = %v, want code %d, cause %q, index 2", tt.path, err, tt.code, tt.cause)
		}
	}
	if st := s.Stats(); st.GetsSuccess != 4 || st.GetsFail != 5 {
		t.Errorf("counted %d and %d gets, want 4 and 5", st.GetsSuccess, st.GetsFail)
	}
}

func TestListings(t *testing.T) {
	s := New(Config{})
	for _, key := range []string{
		"a", "a-", "a.b", "a1", "d/k", "d/_h", "d/_hd/k", "d/sub/x", "d/sub/_y", "_top/v", "_top/_w", "x_/y", "B", "10", "9", "only/_h",
	} {
		mustApply(t, s, Op{Action: Set, Path: "/1/" + key})
	}
	for i := range 50 {
		mustApply(t, s, Op{Action: Set, Path: fmt.Sprintf("/1/d/sub/%02d", i)})
	}
	mustApply(t, s, Op{Action: Delete, Path: "/1/9"})
	v, err := s.Get("/1")
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Op{Action: Set, Path: "/1/after the snapshot"})
	mustApply(t, s, Op{Action: Delete, Path: "/1/d", Recursive: true})

	var children, all, descendants []string
	for n := range v.Children("/1") {
		children = append(children, n.Path[3:])
	}
	if want := []string{"10", "B", "a", "a-", "a.b", "a1", "d", "only", "x_"}; !slices.Equal(children, want) {
		t.Errorf("children of the root: %q, want %q", children, want)
	}
	for n := range v.Descendants("/1/d") {
		descendants = append(descendants, n.Path[5:])
	}
	if len(descendants) != 53 || !slices.Equal(descendants[:4], []string{"k", "sub", "sub/00", "sub/01"}) || descendants[52] != "sub/x" {
		t.Errorf("%d descendants of d: %q", len(descendants), descendants)
	}
	for n := range v.All("/1/_top") {
		all = append(all, n.Path[3:])
	}
	if want := []string{"_top/_w", "_top/v"}; !slices.Equal(all, want) {
		t.Errorf("all in _top: %q, want %q", all, want)
	}
	for n := range v.Children("/1/_top") {
		if n.Path != "/1/_top/v" {
			t.Errorf("a hidden directory lists %q", n.Path)
		}
	}
	for _, none := range []string{"/1/only", "/1/a", "/1/nowhere", "/1/after the snapshot"} {
		for n := range v.Children(none) {
			t.Errorf("%q lists %q", none, n.Path)
		}
	}
	for n := range v.Children("/1") {
		if n.Path != "/1/10" {
			t.Errorf("first child is %q", n.Path)
		}
		break
	}
	if v, err := s.Get("/1/a"); err != nil || v.tree.root != nil {
		t.Errorf("Get of a file took a snapshot, or failed: %v", err)
	}
}
