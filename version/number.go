package version

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Number is a version that can be compared: major, minor and patch.
type Number [3]int

// Parse reads a version such as "2.3.8". What follows "-" or "+" does not count.
func Parse(text string) (Number, error) {
	core, _, _ := strings.Cut(text, "+")
	core, _, _ = strings.Cut(core, "-")
	var n Number
	parts := strings.Split(core, ".")
	if len(parts) != len(n) {
		return Number{}, fmt.Errorf("%q is not a version", text)
	}
	for i, p := range parts {
		part, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return Number{}, fmt.Errorf("%q is not a version", text)
		}
		n[i] = int(part)
	}
	return n, nil
}

// must reads a version of our own.
func must(text string) Number {
	n, err := Parse(text)
	if err != nil {
		panic("version: " + err.Error())
	}
	return n
}

// OfServer is Server as a Number.
func OfServer() Number { return must(Server) }

// OfCluster is Cluster as a Number.
func OfCluster() Number { return must(Cluster) }

// Lowest is MinCluster as a Number.
func Lowest() Number { return must(MinCluster) }

// String is the version as Parse reads it.
func (n Number) String() string { return fmt.Sprintf("%d.%d.%d", n[0], n[1], n[2]) }

// Minor is the version without its patch, which is what clusters agree on: 2.3.0
// for 2.3.8.
func (n Number) Minor() Number { return Number{n[0], n[1]} }

// Compare is negative when n is the lower version, positive when it is the higher
// one.
func (n Number) Compare(other Number) int {
	return cmp.Or(cmp.Compare(n[0], other[0]), cmp.Compare(n[1], other[1]), cmp.Compare(n[2], other[2]))
}
