package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sipvigil/store/redis"
	"sipvigil/store/storetest"
)

// heard is what a node has been told by another one.
type heard struct {
	messages chan string
	ended    chan error
}

func listen(ctx context.Context, s *redis.Store, node string) heard {
	h := heard{make(chan string, 100), make(chan error, 1)}
	go func() {
		h.ended <- s.Listen(ctx, node, func(message []byte) { h.messages <- string(message) })
	}()
	return h
}

// publish awaits that so many listen.
func publish(t *testing.T, s *redis.Store, message string, listeners int) {
	t.Helper()
	storetest.Eventually(t, "a message reaches who listens", func() bool {
		n, err := s.Publish(t.Context(), []byte(message))
		return err == nil && n == listeners
	})
}

func (h heard) want(t *testing.T, message string) {
	t.Helper()
	for {
		select {
		case got := <-h.messages:
			if got == message {
				return
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%.20q was not heard", message)
		}
	}
}

func TestNodesHearWhatAnotherOnePublishes(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, one, two *redis.Store) {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		publish(t, one, "nobody is there", 0)
		h := listen(ctx, two, "edge-1")
		publish(t, one, "ready", 1)
		h.want(t, "ready")
		for _, text := range []string{"a\x00\r\nb", "", strings.Repeat("long", 1<<18)} {
			publish(t, one, text, 1)
			h.want(t, text)
		}
		publish(t, two, "that is another one's", 0)
		leave()
		<-h.ended
		publish(t, one, "nobody is left", 0)
	}
	onEach(t, func(t *testing.T, url string) { test(t, member(t, url, "edge-1"), member(t, url, "edge-2")) })
	t.Run("sentinel", func(t *testing.T) {
		d := storetest.Deploy(t, "calls", time.Minute)
		test(t, member(t, d.URL()+"/0", "edge-1"), member(t, d.URL()+"/0", "edge-2"))
	})
}

func TestANodeTakesWhatIsSentToIt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, url string) {
		one, two := member(t, url, "edge-1"), member(t, url, "edge-2")
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		send := func(message string, reached int) {
			t.Helper()
			storetest.Eventually(t, "a message reaches who takes it", func() bool {
				n, err := one.Send(t.Context(), "edge-2", []byte(message))
				return err == nil && n == reached
			})
		}
		send("nobody is there", 0)
		h := heard{make(chan string, 100), make(chan error, 1)}
		go func() { h.ended <- two.Receive(ctx, func(message []byte) { h.messages <- string(message) }) }()
		for _, text := range []string{"a\x00\r\nb", "", strings.Repeat("long", 1<<18)} {
			send(text, 1)
			h.want(t, text)
		}
		publish(t, one, "that is for who listens", 0)
		leave()
		if err := <-h.ended; err == nil {
			t.Error("it does not say why it has ended")
		}
		send("nobody is left", 0)
	})
}

// A node that takes messages is there again once Redis is.
func TestWhoTakesMessagesOutlivesARestartOfRedis(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	one, two := member(t, url, "edge-1"), member(t, url, "edge-2")
	ctx, leave := context.WithCancel(t.Context())
	taken, ended := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(ended)
		_ = two.Receive(ctx, func(message []byte) { taken <- string(message) }) // until the test ends
	}()
	reaches := func(text string) {
		t.Helper()
		storetest.Eventually(t, text+" reaches who takes it", func() bool {
			n, err := one.Send(t.Context(), "edge-2", []byte(text))
			return err == nil && n == 1
		})
		if got := <-taken; got != text {
			t.Errorf("%q was taken, want %q", got, text)
		}
	}
	reaches("first")
	server.Kill()
	if _, err := one.Send(t.Context(), "edge-2", []byte("lost")); err == nil {
		t.Error("a message that is lost is no error")
	}
	server.Start()
	reaches("second")
	leave()
	<-ended
}

func TestDatabasesOfOneServerDoNotHearEachOther(t *testing.T) {
	t.Parallel()
	url, _ := storetest.Redis(t)
	one, two, third := member(t, url+"/0", "edge-1"), member(t, url+"/0", "edge-2"), member(t, url+"/1", "edge-1")
	h := listen(t.Context(), two, "edge-1")
	publish(t, one, "ready", 1)
	h.want(t, "ready")
	publish(t, third, "from elsewhere", 0)
}

func TestWhoListensLearnsThatRedisIsGone(t *testing.T) {
	t.Parallel()
	url, server := storetest.Redis(t)
	one, two := member(t, url, "edge-1"), member(t, url, "edge-2")
	h := listen(t.Context(), two, "edge-1")
	publish(t, one, "ready", 1)
	server.Kill()
	if err := <-h.ended; err == nil {
		t.Error("it does not say why it has ended")
	}
	if _, err := one.Publish(t.Context(), []byte("lost")); err == nil {
		t.Error("a message that is lost is no error")
	}
	server.Start()
	h = listen(t.Context(), two, "edge-1")
	publish(t, one, "again", 1)
	h.want(t, "again")
}

func TestAUserWithoutTheRightToChannelsLearnsIt(t *testing.T) {
	t.Parallel()
	_, server := storetest.Redis(t)
	server.Do("ACL", "SETUSER", "calls", "on", ">secret", "~*", "+@all", "resetchannels")
	s := member(t, "redis://calls:secret@"+server.Addr(), "edge-1")
	const want = "lacks rights"
	if _, err := s.Publish(t.Context(), []byte("a")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("publishing: %v", err)
	}
	if err := s.Listen(t.Context(), "edge-2", func([]byte) {}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("listening: %v", err)
	}
	if err := s.Receive(t.Context(), func([]byte) {}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("taking: %v", err)
	}
}
