//go:build unix

package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestSignals(t *testing.T) {
	tests := []struct {
		name   string
		manner string
		send   []syscall.Signal
		want   syscall.Signal
		log    string
	}{
		{"terminate", "polite", []syscall.Signal{syscall.SIGTERM}, syscall.SIGTERM, "N | osutil: received terminated signal, shutting down..."},
		{"interrupt", "polite", []syscall.Signal{syscall.SIGINT}, syscall.SIGINT, "N | osutil: received interrupt signal, shutting down..."},
		{"failure while stopping", "failing", []syscall.Signal{syscall.SIGTERM}, syscall.SIGTERM, "C | etcdmain: could not stop in order"},
		{"second signal", "obstinate", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, syscall.SIGINT, "received terminated signal, shutting down..."},
		{"hang up", "polite", []syscall.Signal{syscall.SIGHUP}, syscall.SIGHUP, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "--data-dir", t.TempDir()+"/d")
			cmd.Env = append(os.Environ(), childEnv+"="+tt.manner)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "serving\n" {
				t.Fatalf("child printed %q, %v", line, err)
			}
			var log strings.Builder
			lines := bufio.NewScanner(stderr)
			for _, s := range tt.send {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				for lines.Scan() {
					log.WriteString(lines.Text() + "\n")
					if strings.Contains(lines.Text(), "shutting down") {
						break // the next signal is the second
					}
				}
			}
			for lines.Scan() {
				log.WriteString(lines.Text() + "\n")
			}
			err = cmd.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("child ended with %v, want a signal\n%s", err, log.String())
			}
			if status, ok := exit.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != tt.want {
				t.Errorf("child ended with %v, want signal %v\n%s", err, tt.want, log.String())
			}
			if !strings.Contains(log.String(), tt.log) {
				t.Errorf("log lacks %q:\n%s", tt.log, log.String())
			}
		})
	}
}
