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

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
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
// it further addresses and, unless zone is nil, answers the questions of the
// resolver from zone.
func furnish(dir string, addrs []string, zone map[string][]string) error {
	if err := raiseLoopback(addrs); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if zone == nil {
		return nil
	}
	if err := coverResolvConf(dir); err != nil {
		return fmt.Errorf("resolv.conf: %w", err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return err
	}
	go answer(conn, zone) // until the process ends
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

// answer serves DNS for the records of the zone; other names do not exist.
func answer(conn net.PacketConn, zone map[string][]string) {
	records := make(map[string]map[uint16][]dns.RR) // by name and type
	for entry, list := range zone {
		name, kind, _ := strings.Cut(entry, " ")
		name = dns.Fqdn(strings.ToLower(name))
		if records[name] == nil {
			records[name] = make(map[uint16][]dns.RR)
		}
		for _, data := range list {
			rr, err := dns.NewRR(name + " 300 IN " + kind + " " + data)
			if err != nil {
				fmt.Println(err) // fails the case
				continue
			}
			records[name][rr.Header().Rrtype] = append(records[name][rr.Header().Rrtype], rr)
		}
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		reply.Authoritative, reply.RecursionAvailable = true, true
		of, known := records[strings.ToLower(query.Question[0].Name)]
		if !known {
			reply.Rcode = dns.RcodeNameError
		}
		reply.Answer = of[query.Question[0].Qtype]
		w.WriteMsg(reply)
	})}
	server.ActivateAndServe()
}
