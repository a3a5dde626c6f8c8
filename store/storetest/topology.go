package storetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Deployment is a master with two replicas, watched by three Sentinels of which
// two must agree that it is gone. All are whole and know each other.
type Deployment struct {
	Name      string // of the master, for the Sentinels
	Master    *Server
	Replicas  []*Server
	Sentinels []*Server
}

// Deploy starts a Deployment. A master is taken for gone after as long as the
// test says: long where it is to stay, or a machine that is busy loses it.
func Deploy(t testing.TB, name string, downAfter time.Duration) *Deployment {
	t.Helper()
	d := &Deployment{Name: name}
	_, d.Master = Redis(t)
	for range 2 {
		_, replica := Redis(t)
		replica.Do("REPLICAOF", "127.0.0.1", strconv.Itoa(d.Master.Port()))
		d.Replicas = append(d.Replicas, replica)
	}
	Eventually(t, "the replicas are in step", func() bool {
		return strings.Count(d.Master.Do("INFO", "replication"), "state=online") == 2
	})
	for range 3 { // they ask for the replicas when they start, and then every ten seconds
		d.Sentinels = append(d.Sentinels, sentinel(t, name, d.Master, 2,
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", name, downAfter.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s 5000", name)))
	}
	for _, s := range d.Sentinels {
		Eventually(t, "the Sentinels know the replicas and each other", func() bool {
			about := s.Do("INFO", "sentinel")
			return strings.Contains(about, "status=ok") && strings.Contains(about, "slaves=2,sentinels=3")
		})
	}
	return d
}

// URL is the address of the deployment in the form that a store's configuration
// takes.
func (d *Deployment) URL() string {
	addrs := make([]string, len(d.Sentinels))
	for i, s := range d.Sentinels {
		addrs[i] = s.Addr()
	}
	return "redis-sentinel://" + strings.Join(addrs, ",") + "/" + d.Name
}

// Sentinel starts a Sentinel that watches one server under a name and agrees
// with itself.
func Sentinel(t testing.TB, name string, master *Server) *Server {
	t.Helper()
	return sentinel(t, name, master, 1)
}

func sentinel(t testing.TB, name string, master *Server, quorum int, settings ...string) *Server {
	t.Helper()
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	lines := append([]string{fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", name, master.Port(), quorum)}, settings...)
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return launch(t, []string{config, "--sentinel", "--bind", "127.0.0.1"})
}

// SlotsEach is how many slots of a Cluster each master has; the last has one less.
const SlotsEach = 5462

// Cluster starts three masters with a third of the slots each. The flags are
// added to the command line of each.
func Cluster(t testing.TB, flags ...string) []*Server {
	t.Helper()
	var servers []*Server
	var buses []string
	for range 3 {
		bus := strconv.Itoa(FreePort(t))
		_, server := Redis(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", bus,
			"--cluster-config-file", filepath.Join(t.TempDir(), "nodes.conf")}, flags...)...)
		servers, buses = append(servers, server), append(buses, bus)
	}
	for i, server := range servers {
		server.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*SlotsEach), strconv.Itoa(min((i+1)*SlotsEach, 16384)-1))
		server.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		for j := range i {
			server.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(servers[j].Port()), buses[j])
		}
	}
	for _, server := range servers {
		Eventually(t, "the cluster is complete", func() bool {
			about := server.Do("CLUSTER", "INFO")
			return strings.Contains(about, "cluster_state:ok") && strings.Contains(about, "cluster_known_nodes:3")
		})
	}
	return servers
}

// Do has the server carry out one command and returns a reply that is one line
// or one text. It fails the test on an error.
func (s *Server) Do(command ...string) string {
	s.t.Helper()
	reply, err := s.do(command)
	if err != nil {
		s.t.Fatalf("%s at %s: %v", strings.Join(command, " "), s.Addr(), err)
	}
	return reply
}

// IsMaster says whether the server is no replica. Sentinel closes the connections
// of one that it promotes: that is no answer yet.
func (s *Server) IsMaster() bool {
	reply, err := s.do([]string{"INFO", "replication"})
	return err == nil && strings.Contains(reply, "role:master")
}

func (s *Server) do(command []string) (string, error) {
	conn, err := net.DialTimeout("tcp", s.Addr(), patience)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	request := fmt.Sprintf("*%d\r\n", len(command))
	for _, word := range command {
		request += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := conn.Write([]byte(request)); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	switch kind {
	case '-':
		return "", fmt.Errorf("%s", rest)
	case '$':
		size, err := strconv.Atoi(rest)
		if err != nil || size < 0 {
			return "", err
		}
		text := make([]byte, size)
		_, err = io.ReadFull(r, text)
		return string(text), err
	default:
		return rest, nil
	}
}
