package web

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sipvigil/store"
)

// route is one thing that can be asked for. What is below /api/v1 is described
// in openapi.json, which a test compares with this.
type route struct {
	method string
	path   string
	role   Role // who may
	serve  http.HandlerFunc
}

// routes are all of them.
func (s *Server) routes(gatherer prometheus.Gatherer) []route {
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	return []route{
		{get, "/api/v1/calls", Viewer, s.listCalls},
		{get, "/api/v1/calls/{id}", Viewer, bare(s.showCall)},
		{del, "/api/v1/calls/{id}", Operator, s.hangupCall},
		{get, "/api/v1/calls/{id}/events", Viewer, bare(s.listEvents)},
		{post, "/api/v1/calls/{id}/probe", Operator, bare(s.probeCall)},
		{post, "/api/v1/calls/hangup", Operator, bare(s.hangupCalls)},
		{get, "/api/v1/batches", Viewer, bare(s.listBatches)},
		{get, "/api/v1/batches/{id}", Viewer, bare(s.showBatch)},
		{del, "/api/v1/batches/{id}", Operator, bare(s.stopBatch)},
		{post, "/api/v1/brake/release", Operator, s.releaseHeld},
		{get, "/api/v1/cdrs", Viewer, s.listCDRs},
		{get, "/api/v1/nodes", Viewer, bare(s.listNodes)},
		{get, "/api/v1/nodes/{name}/maintenance", Viewer, bare(s.showMaintenance(store.ScopeNode))},
		{put, "/api/v1/nodes/{name}/maintenance", Admin, bare(s.setMaintenance(store.ScopeNode))},
		{get, "/api/v1/trunks", Viewer, bare(s.listTrunks)},
		{get, "/api/v1/trunks/{name}/maintenance", Viewer, bare(s.showMaintenance(store.ScopeTrunk))},
		{put, "/api/v1/trunks/{name}/maintenance", Admin, bare(s.setMaintenance(store.ScopeTrunk))},
		{get, "/api/v1/progress", Viewer, bare(s.listProgress)},
		{post, "/api/v1/ping", Operator, bare(s.ping)},
		{get, "/api/v1/me", Viewer, bare(s.showMe)},
		{get, "/api/v1/table", Viewer, s.table},
		{get, "/api/v1/overview", Viewer, bare(s.showOverview)},
		{get, "/api/v1/events", Viewer, bare(s.streamEvents)},
		{get, "/api/openapi.json", Viewer, bare(s.describe)},

		{get, "/metrics", Viewer, metrics(gatherer, s.warnings)},
		{get, "/livez", Anybody, s.livez},
		{get, "/readyz", Anybody, s.readyz},

		{get, "/{$}", Viewer, file("page.html")},
		{get, "/page.js", Viewer, file("page.js")},
		{get, "/page.css", Viewer, file("page.css")},
		{get, "/icon.svg", Viewer, file("icon.svg")},
		{get, "/licences.txt", Viewer, file("licences.txt")},
	}
}

// bare refuses parameters: a misspelt one would be overlooked.
func bare(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if faults := parseParams(r.URL.RawQuery).done(); len(faults) > 0 {
			problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
			return
		}
		serve(w, r)
	}
}

// mux leads requests to their routes. A known path with another method is
// answered 405, an unknown one 404.
func (s *Server) mux(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.method+" "+r.path, s.admit(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := *r
			other.Method = method
			if _, pattern := mux.Handler(&other); pattern != "/" {
				allow = append(allow, method)
			}
		}
		if len(allow) == 0 {
			problem(w, http.StatusNotFound, "there is nothing at this path")
			return
		}
		list := strings.Join(allow, ", ")
		w.Header().Set("Allow", list)
		problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not possible here, only %s", r.Method, list))
	})
	return mux
}
