// SPDX-FileCopyrightText: The Codis operator authors
// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// topology is the part of /topom/stats that is observed.
type topology struct {
	since string
	Slots []struct {
		ID     int `json:"id"`
		Group  int `json:"group_id"`
		Action struct {
			State string `json:"state"`
		} `json:"action"`
	} `json:"slots"`
	Group struct {
		Models []struct {
			ID      int `json:"id"`
			Servers []struct {
				Addr string `json:"server"`
			} `json:"servers"`
		} `json:"models"`
	} `json:"group"`
	Proxy struct {
		Models []Proxy `json:"models"`
		Stats  map[string]struct {
			Stats struct {
				Sessions struct {
					Alive int64 `json:"alive"`
				} `json:"sessions"`
			} `json:"stats"`
		} `json:"stats"`
	} `json:"proxy"`
}

// askDashboard asks for the topology, and before for the process that knows it: one that
// ends in between does not answer the second question.
func askDashboard(ctx context.Context, client *http.Client, addr string) (*topology, error) {
	model := struct {
		Since string `json:"start_time"`
	}{}
	if err := get(ctx, client, "http://"+addr+"/topom/model", &model); err != nil {
		return nil, err
	}
	t := &topology{}
	if err := get(ctx, client, "http://"+addr+"/topom/stats", t); err != nil {
		return nil, err
	}
	t.since = model.Since
	return t, nil
}

func get(ctx context.Context, client *http.Client, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// put writes the topology into an observation.
func (t *topology) put(o *Observation) {
	o.Since = t.since
	o.Groups, o.Slots, o.Moving, o.Proxies = map[int][]string{}, map[int]string{}, 0, t.Proxy.Models
	for i, p := range o.Proxies {
		o.Proxies[i].Sessions = t.Proxy.Stats[p.Token].Stats.Sessions.Alive
	}
	for _, group := range t.Group.Models {
		servers := make([]string, 0, len(group.Servers))
		for _, server := range group.Servers {
			servers = append(servers, server.Addr)
		}
		o.Groups[group.ID] = servers
	}
	owned := map[int][]int{}
	for _, slot := range t.Slots {
		owned[slot.Group] = append(owned[slot.Group], slot.ID)
		if slot.Action.State != "" {
			o.Moving++
		}
	}
	for group, slots := range owned {
		o.Slots[group] = ranges(slots)
	}
}
