//go:build !linux

package proc

import "syscall"

// childAttr has nothing to ask for here: a server outlives a killed test.
func childAttr() *syscall.SysProcAttr { return nil }
