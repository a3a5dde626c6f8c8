package dialog

import (
	"slices"
	"strings"

	"sipvigil/store"
)

// RouteSet makes the route set of a dialog from the Record-Route headers of
// the message that established it, each of which may be a list. Their order is
// kept at a UAS, RFC 3261 section 12.1.1, and reversed at a UAC,
// RFC 3261 section 12.1.2. Every value keeps its bytes, unknown parameters
// included.
func RouteSet(recordRoutes []string, reverse bool) []string {
	var set []string
	for _, value := range recordRoutes {
		set = append(set, SplitList(value)...)
	}
	if reverse {
		slices.Reverse(set)
	}
	return set
}

// NextHop says what a request inside the dialog carries as Request-URI and
// Route, RFC 3261 section 12.2.1.1, and the URI that names where it is sent to,
// RFC 3261 section 8.1.2: by TLS also when only the Request-URI is a sips URI.
// The routes may be the record's own slice: they are not to be changed.
//
// A first route whose URI cannot be read counts as a loose router: there is
// nowhere to send the request then, whatever it carries.
func NextHop(d *store.Dialog) (requestURI string, routes []string, hop string) {
	if len(d.RouteSet) == 0 {
		requestURI = forRequest(d.Target)
		return requestURI, nil, requestURI
	}
	first := routeURI(d.RouteSet[0])
	u, err := ParseURI(first)
	if err == nil {
		_, loose := u.Param("lr")
		if !loose {
			routes = make([]string, 0, len(d.RouteSet))
			routes = append(routes, d.RouteSet[1:]...)
			routes = append(routes, "<"+d.Target+">")
			requestURI = forRequest(first)
			return requestURI, routes, requestURI
		}
	}
	return forRequest(d.Target), d.RouteSet, first
}

// routeURI is the URI of a Route value.
//
// Departs from RFC 3261 section 25.1: a value without <> is accepted, and all
// of it is the URI, as those who write it so mean "lr" to be the URI's.
func routeURI(value string) string {
	l, err := layout(value)
	if err != nil || !l.bracketed {
		return trim(value)
	}
	return value[l.uri:l.uriEnd]
}

// forRequest takes from a URI what may not stand in a Request-URI: the headers
// and the method parameter, RFC 3261 section 19.1.1 table 1.
func forRequest(uri string) string {
	if strings.IndexByte(uri, '?') < 0 && strings.IndexByte(uri, ';') < 0 {
		return uri // as most are
	}
	u, err := ParseURI(uri)
	if err != nil {
		return uri
	}
	params := withoutParam(u.Params, 0, "method")
	if u.Headers == "" && len(params) == len(u.Params) {
		return uri
	}
	u.Headers, u.Params = "", params
	return u.String()
}
