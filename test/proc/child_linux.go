package proc

import "syscall"

// childAttr lets the server die with the test, even when the test is killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
