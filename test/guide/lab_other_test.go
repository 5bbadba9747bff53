//go:build !linux

package guide

import "testing"

const insideEnv = "GUIDE_INSIDE"

func isolated(t *testing.T) { t.Skip("hosts of their own need Linux") }

func newLab(t *testing.T) stage {
	t.Fatal("hosts of their own need Linux")
	return nil
}
