package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// listenMeeting is where a discovery service of its own listens: on all addresses,
// since it is there for other machines.
const listenMeeting = "http://:8087"

// serveUsage stands above the flags of "etcd discovery serve".
const serveUsage = `usage: etcd discovery serve [flags]
       run a discovery service, and serve clients nothing else

GET /new?size=3 answers a URL. The three members that are then started with
"--discovery URL" form a cluster. In a browser the URL shows who has arrived.
`

// discoveryServe is the command that runs a cluster of one which serves nothing but
// discovery. It takes all flags of a member, so the cluster may be a larger one.
func (v *invocation) discoveryServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [--listen URL] [--data-dir DIR]",
		Short: "Run a discovery service",
		Args:  noWords,
	}
	o := withOptions(cmd, v.meetingPlaceOnly)
	c := o.cfg
	c.Name = "discovery"
	c.ListenClientURLs = mustURLs(listenMeeting)
	c.ListenPeerURLs = nil // nobody else is in the cluster, unless flags say so
	o.flags.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	listen := option{name: "listen", value: urls(&c.ListenClientURLs), usage: "Comma separated URLs to serve."}
	o.register(listen)
	help := o.serveSections(listen)
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeServeHelp(cmd.OutOrStdout(), help) })
	return cmd
}

// meetingPlaceOnly starts a member that serves discovery only.
func (v *invocation) meetingPlaceOnly(o *options) error {
	c := o.cfg
	c.DiscoveryService, c.DiscoveryServiceOnly = true, true
	if o.version {
		return v.member(o)
	}
	if err := v.configure(o); err != nil {
		return err
	}
	if o.set("listen") && o.set("listen-client-urls") {
		return &verifyError{errors.New("set only one of flags -listen and -listen-client-urls")}
	}
	if !o.set("advertise-client-urls") {
		c.AdvertiseClientURLs = c.ListenClientURLs
	}
	return v.start(o)
}

// serveSections are the flags that help shows for a discovery service.
func (o *options) serveSections(listen option) []section {
	shown := []option{
		listen,
		{name: "data-dir", value: text(&o.cfg.DataDir), shown: "discovery.etcd", usage: "Directory that holds all data of the service."},
	}
	for _, opt := range o.meetingFlags() {
		if opt.name != "enable-discovery-service" {
			shown = append(shown, opt)
		}
	}
	return []section{{"flags", shown}, {"security flags", o.clientSecurityFlags()}, {"logging flags", o.loggingFlags()}}
}

// clientSecurityFlags are the security flags of the client URLs.
func (o *options) clientSecurityFlags() []option {
	var shown []option
	for _, opt := range o.securityFlags() {
		switch opt.name {
		case "cert-file", "key-file", "client-cert-auth", "trusted-ca-file", "auto-tls":
			shown = append(shown, opt)
		}
	}
	return shown
}

func writeServeHelp(w io.Writer, help []section) {
	io.WriteString(w, serveUsage)
	writeSections(w, help)
	io.WriteString(w, `
All other flags of etcd are taken too, for example to make a cluster of three of it.
`)
}
