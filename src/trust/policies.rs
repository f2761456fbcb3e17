//! Certificate policies, as Go checks them (RFC 5280 with RFC 9618). Nobody asks for a policy here, so they matter only
//! where a certificate itself requires one (`requireExplicitPolicy`), or maps the policy that stands for any.

use std::collections::{HashMap, HashSet};

use super::certificate::{Certificate, Oid};

/// Whether the policies of a chain, leaf first and the trusted CA last, leave one that holds where one is required.
pub(super) fn are_valid(chain: &[&Certificate]) -> bool {
    // The trusted CA's own policies are not looked at.
    let Some((_, chain)) = chain.split_last() else { return true };
    let maps_any = |certificate: &Certificate| {
        certificate.policy_mappings().any(|(issuer, subject)| issuer.is_any_policy() || subject.is_any_policy())
    };
    let requires = |certificate: &Certificate| bound(certificate.require_explicit_policy()).is_some();
    // Else the counters below cannot come to anything; and a hostile chain costs nothing.
    if !chain.iter().any(|certificate| requires(certificate) || maps_any(certificate)) {
        return true;
    }
    let most = chain.len() as u64 + 1;
    let (mut explicit_policy, mut policy_mapping, mut inhibit_any_policy) = (most, most, most);
    let mut graph = Some(Graph::new());
    for (place, certificate) in chain.iter().enumerate().rev() {
        let is_leaf = place == 0;
        let is_self_issued = certificate.raw_issuer() == certificate.raw_subject();
        let policies: Vec<_> = certificate.policies().collect();
        if policies.is_empty() {
            graph = None;
        }
        if explicit_policy == 0 && graph.is_none() {
            return false;
        }
        if let Some(graph) = &mut graph {
            graph.add(&policies, inhibit_any_policy > 0 || (!is_leaf && is_self_issued));
            let mappings: Vec<_> = certificate.policy_mappings().collect();
            if !is_leaf && !mappings.is_empty() && !graph.map(&mappings, policy_mapping > 0) {
                return false;
            }
        }
        if !is_leaf {
            let counters = [
                (&mut explicit_policy, certificate.require_explicit_policy()),
                (&mut policy_mapping, certificate.inhibit_policy_mapping()),
                (&mut inhibit_any_policy, certificate.inhibit_any_policy()),
            ];
            for (counter, most) in counters {
                if !is_self_issued {
                    *counter = counter.saturating_sub(1);
                }
                *counter = bound(most).map_or(*counter, |most| most.min(*counter));
            }
        }
    }
    explicit_policy = explicit_policy.saturating_sub(1);
    if chain.first().is_some_and(|leaf| leaf.require_explicit_policy() == Some(0)) {
        explicit_policy = 0;
    }
    explicit_policy > 0 || graph.is_some_and(|graph| graph.has_valid_policy())
}

/// What is negative counts as absent.
fn bound(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

/// A policy that is valid at one depth.
struct Node<'c> {
    policy: Oid<'c>,
    /// Policies of the next depth that continue this one.
    expected: Vec<Oid<'c>>,
    /// The nodes that this one continues.
    parents: HashSet<usize>,
    children: HashSet<usize>,
}

/// The policies of each depth, from the trusted CA down.
struct Graph<'c> {
    nodes: Vec<Node<'c>>,
    /// At each depth, policy -> node.
    strata: Vec<HashMap<Oid<'c>, usize>>,
}

impl<'c> Graph<'c> {
    fn new() -> Self {
        let mut graph = Self { nodes: Vec::new(), strata: vec![HashMap::new()] };
        graph.insert(Oid::ANY_POLICY, &[]);
        graph
    }

    fn insert(&mut self, policy: Oid<'c>, parents: &[usize]) -> usize {
        let node = self.nodes.len();
        for &parent in parents {
            self.nodes[parent].children.insert(node);
        }
        let parents = parents.iter().copied().collect();
        self.nodes.push(Node { policy, expected: vec![policy], parents, children: HashSet::new() });
        if let Some(stratum) = self.strata.last_mut() {
            stratum.insert(policy, node);
        }
        node
    }

    fn leaf(&self, policy: Oid<'_>) -> Option<usize> {
        self.strata.last()?.get(&policy).copied()
    }

    /// A certificate's policies, one depth further down.
    fn add(&mut self, policies: &[Oid<'c>], takes_any: bool) {
        let any_above = self.leaf(Oid::ANY_POLICY);
        let mut expecting: HashMap<Oid<'c>, Vec<usize>> = HashMap::new();
        for &node in self.strata.last().into_iter().flat_map(HashMap::values) {
            for &policy in &self.nodes[node].expected {
                expecting.entry(policy).or_default().push(node);
            }
        }
        self.strata.push(HashMap::new());
        for &policy in policies.iter().filter(|policy| !policy.is_any_policy()) {
            if let Some(parents) = expecting.get(&policy) {
                self.insert(policy, parents);
            } else if let Some(any) = any_above {
                self.insert(policy, &[any]);
            }
        }
        if takes_any && policies.iter().any(Oid::is_any_policy) {
            expecting.retain(|&policy, _| self.leaf(policy).is_none());
            for (policy, parents) in expecting {
                self.insert(policy, &parents);
            }
        }
        self.prune();
    }

    /// False if a mapping may not be.
    fn map(&mut self, mappings: &[(Oid<'c>, Oid<'c>)], is_allowed: bool) -> bool {
        let mut by_issuer: HashMap<Oid<'c>, Vec<Oid<'c>>> = HashMap::new();
        for &(issuer, subject) in mappings {
            if !is_allowed {
                self.delete_leaf(issuer);
            } else if issuer.is_any_policy() || subject.is_any_policy() {
                return false;
            } else {
                by_issuer.entry(issuer).or_default().push(subject);
            }
        }
        self.prune();
        for (issuer, subjects) in by_issuer {
            let any = self.leaf(Oid::ANY_POLICY);
            if let Some(node) = self.leaf(issuer).or_else(|| any.map(|any| self.insert(issuer, &[any]))) {
                self.nodes[node].expected = subjects;
            }
        }
        true
    }

    fn delete_leaf(&mut self, policy: Oid<'c>) {
        if let Some(node) = self.strata.last_mut().and_then(|stratum| stratum.remove(&policy)) {
            self.unlink(node);
        }
    }

    fn unlink(&mut self, node: usize) {
        for parent in self.nodes[node].parents.clone() {
            self.nodes[parent].children.remove(&node);
        }
    }

    /// Leaves out, from below, what has no child any more; the lowest depth and the root stay.
    fn prune(&mut self) {
        for depth in (1..self.strata.len().saturating_sub(1)).rev() {
            let nodes = self.strata[depth].values().copied();
            let childless: Vec<usize> = nodes.filter(|&node| self.nodes[node].children.is_empty()).collect();
            for node in childless {
                self.unlink(node);
                self.strata[depth].remove(&self.nodes[node].policy);
            }
        }
    }

    /// Whether any policy is left: one that stands for any, or one whose only parent does.
    fn has_valid_policy(&self) -> bool {
        let is_any = |node: &usize| self.nodes[*node].policy.is_any_policy();
        self.leaf(Oid::ANY_POLICY).is_some()
            || self.strata.iter().flat_map(HashMap::values).any(|node| {
                let parents = &self.nodes[*node].parents;
                !is_any(node) && parents.len() == 1 && parents.iter().all(is_any)
            })
    }
}
