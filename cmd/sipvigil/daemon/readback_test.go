package daemon

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/store/embedded"
	"sipvigil/store/storetest"
	"sipvigil/supervisor/maintenance"
	"sipvigil/supervisor/progress"
)

// farAway is a store that takes its time for each call that is read.
type farAway struct{ *embedded.Store }

func (s farAway) Owned(ctx context.Context, node string, yield func(store.Call) bool) error {
	err := s.Store.Owned(ctx, node, func(c store.Call) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
			return yield(c)
		}
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func TestManyCallsOfAStoreThatIsSlowAreReadBackAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 2500 // two minutes
		s := embedded.New()
		for range calls {
			s.Save(storetest.Call())
		}
		cfg := b2bua.Default()
		cfg.Node = storetest.Node
		agent, err := b2bua.New(cfg, s, nobody{}, zap.NewNop(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		d := &Daemon{cfg: Config{Node: storetest.Node}, log: zap.NewNop(), store: farAway{s}, agent: agent,
			board: maintenance.New(s, zap.NewNop()), progress: progress.New(storetest.Node, zap.NewNop())}
		serving, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		nobodyCalls := b2bua.Listener{Listener: &deaf{closed: make(chan struct{})}, Transport: "tcp"}
		go func() { ended <- agent.Run(serving, nil, []b2bua.Listener{nobodyCalls}) }()
		defer func() { stop(); <-ended }()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		d.load(ctx)
		if n := agent.Count(); n != calls || ctx.Err() != nil {
			t.Errorf("%d calls are read back, want %d", n, calls)
		}
	})
}
