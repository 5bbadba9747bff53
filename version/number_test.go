package version

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]Number{
		"2.3.8": {2, 3, 8}, "2.10.1-alpha.1+git": {2, 10, 1}, "2.3.0+git-x": {2, 3, 0}, "0.0.0": {},
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "2.3", "2.3.8.1", "a.b.c", "2.-3.0", "2.3.99999999999", "not_decided"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %v, want a refusal", text, got)
		}
	}
}

func TestCompare(t *testing.T) {
	ascending := []Number{{0, 9, 9}, {2, 2, 0}, {2, 3, 0}, {2, 3, 8}, {2, 10, 0}, {3, 0, 0}}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := a.Compare(b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%v.Compare(%v) = %d", a, b, got)
			}
		}
	}
	if got := (Number{2, 3, 8}).Minor().String(); got != "2.3.0" {
		t.Errorf("minor version of 2.3.8 = %s, want 2.3.0", got)
	}
}

func TestOwnVersions(t *testing.T) {
	if OfServer().String() != Server || OfCluster().String() != Cluster || Lowest().String() != MinCluster {
		t.Errorf("own versions are %v, %v and %v", OfServer(), OfCluster(), Lowest())
	}
	if Lowest().Compare(OfCluster()) > 0 || OfServer().Minor() != OfCluster() {
		t.Errorf("%v takes part in clusters of %v to %v", OfServer(), Lowest(), OfCluster())
	}
}
