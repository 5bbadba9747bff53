package main

// sections lists the flags in the order of the help text.
func (o *options) sections() []section {
	return []section{
		{"member flags", o.memberFlags()},
		{"clustering flags", o.clusterFlags()},
		{"proxy flags", o.proxyFlags()},
		{"discovery service flags", o.meetingFlags()},
		{"security flags", o.securityFlags()},
		{"logging flags", o.loggingFlags()},
		{"unsafe flags", []option{
			{name: "force-new-cluster", value: boolean(&o.cfg.ForceNewCluster),
				usage: "Make a one-member cluster of the data this member has, forgetting all others."},
		}},
		{"experimental flags", o.experimentalFlags()},
		{"profiling flags", []option{
			{name: "enable-pprof", value: boolean(&o.cfg.EnablePprof),
				usage: "Serve runtime profiles at /debug/pprof/ on the client URLs."},
		}},
	}
}

func (o *options) memberFlags() []option {
	c := o.cfg
	return []option{
		{name: "config-file", value: text(&o.configFile), usage: "YAML or JSON file with settings: the keys are the names of these flags."},
		{name: "name", value: text(&c.Name), usage: "Name of this member, as the initial cluster lists it."},
		{name: "data-dir", value: text(&c.DataDir), shown: "${name}.etcd", usage: "Directory that holds all data of this member."},
		{name: "wal-dir", value: text(&c.WALDir), usage: "Directory for the raft log alone, for example on a disk of its own."},
		{name: "snapshot-count", value: unsigned64(&c.SnapshotCount), usage: "Entries applied between two checkpoints."},
		{name: "heartbeat-interval", value: millis(&c.Heartbeat), usage: "Milliseconds between two heartbeats of a leader."},
		{name: "election-timeout", value: millis(&c.Election), usage: "Milliseconds without a heartbeat before an election; at least five heartbeats."},
		{name: "listen-peer-urls", value: urls(&c.ListenPeerURLs), usage: "Comma separated URLs on which other members are served."},
		{name: "listen-client-urls", value: urls(&c.ListenClientURLs), usage: "Comma separated URLs on which clients are served."},
		{name: "max-snapshots", value: unsigned(&c.MaxSnapshots), usage: "Accepted and without effect: one checkpoint file is kept."},
		{name: "max-wals", value: unsigned(&c.MaxWALs), usage: "Accepted and without effect: log files go once a checkpoint covers them."},
		{name: "cors", value: origins(&c.CORS), usage: "Comma separated origins whose web pages may use the API, or *."},
		{name: "history-events", value: count(&c.HistoryEvents), usage: "Events kept for watches that start in the past."},
		{name: "min-free-bytes", value: unsigned64(&c.MinFreeBytes), usage: "Refuse writes when the disk has less free space than this; 0 never refuses."},
		{name: "default-read", value: oneOf(&c.DefaultRead, readLocal, readQuorum), usage: "What a read without a quorum parameter gets: 'local', what this member knows, or 'quorum', the latest."},
	}
}

func (o *options) clusterFlags() []option {
	c := o.cfg
	return []option{
		{name: "initial-advertise-peer-urls", value: urls(&c.AdvertisePeerURLs), usage: "Comma separated URLs at which other members reach this one."},
		{name: "initial-cluster", value: text(&c.InitialCluster), usage: "The founding members, as name=url,name=url."},
		{name: "initial-cluster-state", value: oneOf(&c.ClusterState, stateNew, stateExisting), usage: "Whether the cluster is 'new' or 'existing'."},
		{name: "initial-cluster-token", value: text(&c.ClusterToken), usage: "Text that sets this cluster apart from others with the same URLs."},
		{name: "advertise-client-urls", value: urls(&c.AdvertiseClientURLs), usage: "Comma separated URLs at which clients reach this member."},
		{name: "discovery", value: text(&c.Discovery), usage: "URL at which the founding members find each other."},
		{name: "discovery-fallback", value: oneOf(&c.Fallback, fallbackExit, fallbackProxy), usage: "What to do when the discovered cluster is full: 'exit' or 'proxy'."},
		{name: "discovery-proxy", value: text(&c.DiscoveryProxy), usage: "HTTP proxy for requests to the discovery URL."},
		{name: "discovery-srv", value: text(&c.DiscoverySRV), usage: "DNS domain whose SRV records list the founding members."},
		{name: "discovery-srv-name", value: text(&c.SRVName), usage: "Suffix of the records of one of several clusters of the domain: _etcd-server-NAME._tcp."},
		{name: "dns-server", value: text(&c.DNSServer), usage: "Name server, host or host:port, to ask for these records and the hosts in them; those of the system."},
		{name: "strict-reconfig-check", value: boolean(&c.StrictReconfig), usage: "Refuse changes of members that would cost the cluster its quorum."},
		{name: "snapshot-rate", value: unsigned64(&c.SnapshotRate), usage: "Bytes per second at most of a checkpoint sent to a member that lags; 0 for no limit."},
		{name: "agreement-check-interval", value: period(&c.AgreementInterval), usage: "Time between two checks that all members hold the same tree, as 5m or 30s; 0 for none."},
	}
}

func (o *options) proxyFlags() []option {
	c := o.cfg
	return []option{
		{name: "proxy", value: oneOf(&c.Proxy, proxyOff, proxyReadonly, proxyOn), usage: "Whether to be a proxy: 'off', 'readonly' or 'on'."},
		{name: "proxy-failure-wait", value: millis(&c.ProxyFailureWait), usage: "Milliseconds during which a failed endpoint is left alone."},
		{name: "proxy-refresh-interval", value: millis(&c.ProxyRefresh), usage: "Milliseconds between two looks at the list of members."},
		{name: "proxy-dial-timeout", value: millis(&c.ProxyDialTimeout), usage: "Milliseconds to connect to an endpoint; 0 waits for ever."},
		{name: "proxy-write-timeout", value: millis(&c.ProxyWriteTimeout), usage: "Milliseconds to write to an endpoint; 0 waits for ever."},
		{name: "proxy-read-timeout", value: millis(&c.ProxyReadTimeout), usage: "Milliseconds to read from an endpoint; 0 waits for ever, as watches need."},
	}
}

func (o *options) securityFlags() []option {
	client, peer := &o.cfg.ClientTLS, &o.cfg.PeerTLS
	return []option{
		{name: "ca-file", value: text(&client.CA), usage: "Old way to give both --trusted-ca-file and --client-cert-auth."},
		{name: "cert-file", value: text(&client.Cert), usage: "Certificate shown to clients."},
		{name: "key-file", value: text(&client.Key), usage: "Private key of that certificate."},
		{name: "client-cert-auth", value: boolean(&client.ClientCertAuth), usage: "Ask clients for a certificate."},
		{name: "trusted-ca-file", value: text(&client.TrustedCA), usage: "Authorities that sign the certificates of clients."},
		{name: "client-crl-file", value: text(&client.CRL), usage: "Revocation lists: clients with a certificate in them are refused."},
		{name: "auto-tls", value: boolean(&client.Auto), usage: "Make a certificate for https client URLs when none is given."},
		{name: "peer-ca-file", value: text(&peer.CA), usage: "Old way to give both --peer-trusted-ca-file and --peer-client-cert-auth."},
		{name: "peer-cert-file", value: text(&peer.Cert), usage: "Certificate shown to other members."},
		{name: "peer-key-file", value: text(&peer.Key), usage: "Private key of that certificate."},
		{name: "peer-client-cert-auth", value: boolean(&peer.ClientCertAuth), usage: "Ask other members for a certificate."},
		{name: "peer-trusted-ca-file", value: text(&peer.TrustedCA), usage: "Authorities that sign the certificates of members."},
		{name: "peer-crl-file", value: text(&peer.CRL), usage: "Revocation lists: members with a certificate in them are refused."},
		{name: "peer-cert-allowed-cn", value: text(&peer.AllowedCN), usage: "The common name that the certificates of members must have."},
		{name: "peer-auto-tls", value: boolean(&peer.Auto), usage: "Make a certificate for https peer URLs when none is given."},
	}
}

func (o *options) loggingFlags() []option {
	c := o.cfg
	return []option{
		{name: "debug", value: boolean(&c.Debug), usage: "Log everything down to DEBUG."},
		{name: "log-package-levels", value: text(&c.LogPackages), usage: "Levels by package, as etcdserver=WARNING,wal=DEBUG or *=INFO."},
		{name: "log-level", value: levelName(&c.LogLevel), usage: "Least level that is logged: critical, error, warning, notice, info, debug or trace."},
		{name: "log-format", value: oneOf(&c.LogFormat, formatText, formatJSON), usage: "Form of the log on standard error: 'text' or 'json'."},
		{name: "version", value: boolean(&o.version), usage: "Print the version and exit."},
	}
}

func (o *options) experimentalFlags() []option {
	p := &o.preview
	return []option{
		{name: "experimental-v3demo", value: boolean(&p.demo), usage: "Accepted and without effect: the v3 preview is not part of this server."},
		{name: "experimental-gRPC-addr", value: text(&p.addr), usage: "Accepted and without effect, as above."},
		{name: "experimental-auto-compaction-retention", value: anyInt(&p.retention), usage: "Accepted and without effect, as above."},
	}
}
