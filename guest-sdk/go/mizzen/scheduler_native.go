//go:build !wasip1

package mizzen

// There are no whole objects in unit tests.

func clusterNode(uint32) string { return "" }

func clusterPod(uint64) string { return "" }

func clusterNodeValue(uint32, string) string { return "" }

func clusterPodValue(uint64, string) string { return "" }

func clusterPodsOn(uint32) []string { return nil }
