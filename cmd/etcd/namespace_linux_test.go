package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"etcd2/test/zone"
)

// namespaces returns how to start a process with a network and mounts of its own,
// or why this system does not allow that. A user who is not root needs a user
// namespace, too.
var namespaces = sync.OnceValues(func() (*syscall.SysProcAttr, error) {
	const private = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
	id := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	group := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	var failed error
	for _, attr := range []*syscall.SysProcAttr{
		{Cloneflags: private},
		{Cloneflags: private | syscall.CLONE_NEWUSER, UidMappings: id, GidMappings: group},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), caseEnv+"=1")
		cmd.SysProcAttr = attr
		if failed = cmd.Run(); failed == nil {
			return attr, nil
		}
	}
	return nil, failed
})

// furnish makes a private network usable: it raises the loopback interface, gives
// it further addresses and, unless names is nil, answers the questions of the
// resolver from the records of names.
func furnish(dir string, addrs []string, names map[string][]string) error {
	if err := raiseLoopback(addrs); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if names == nil {
		return nil
	}
	if err := coverResolvConf(dir); err != nil {
		return fmt.Errorf("resolv.conf: %w", err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return err
	}
	go zoneOf(names).Serve(conn) // until the process ends
	return nil
}

// raiseLoopback brings the loopback interface up with further addresses.
func raiseLoopback(addrs []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return err
	}
	for i, addr := range addrs {
		alias, err := unix.NewIfreq(fmt.Sprintf("lo:%d", i+1))
		if err != nil {
			return err
		}
		ip := netip.MustParseAddr(addr).As4()
		if err := alias.SetInet4Addr(ip[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, alias); err != nil {
			return err
		}
		if err := alias.SetInet4Addr([]byte{255, 255, 255, 255}); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, alias); err != nil {
			return err
		}
	}
	return nil
}

// coverResolvConf makes this process and its children ask 127.0.0.1.
func coverResolvConf(dir string) error {
	name := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(name, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount(name, target, "", unix.MS_BIND, "")
}

// zoneOf returns the records of a case, which are listed by "NAME TYPE".
func zoneOf(listed map[string][]string) zone.Records {
	var all zone.Records
	for entry, list := range listed {
		name, kind, _ := strings.Cut(entry, " ")
		for _, data := range list {
			all = append(all, name+". "+kind+" "+data)
		}
	}
	return all
}
