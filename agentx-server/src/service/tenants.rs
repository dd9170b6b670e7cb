//! What managing tenants does beyond their records.

use serde_json::{Value, json};

use super::{Outcome, Service};
use crate::{
    Owner,
    failure::{Code, Failure},
    tenant::{Tenant, TenantChanges, Tenants, Usage, now},
};

impl Service {
    pub(crate) fn tenants(&self) -> Outcome<&Tenants> {
        let none = || Failure::new(Code::Unsupported, "this server has no tenants");
        self.tenants.as_ref().ok_or_else(none)
    }

    /// Changes a tenant. The agents of one that is kept out are ended.
    pub(crate) async fn update_tenant(&self, owner: &Owner, changes: TenantChanges) -> Outcome<Tenant> {
        let tenant = self.tenants()?.update(owner, changes).await?;
        if tenant.is_suspended {
            self.stop_all(owner).await;
        }
        Ok(tenant)
    }

    /// Removes a tenant with all that it has. It is kept out first: where this ends half-way, it is done again, and nobody
    /// has come in meanwhile.
    pub(crate) async fn delete_tenant(&self, owner: &Owner) -> Outcome<()> {
        let tenants = self.tenants()?;
        tenants.update(owner, TenantChanges::suspended(true)).await?;
        self.stop_all(owner).await;
        for container in self.runtime.containers().await? {
            if owner.name_of(&container.container_id).is_some() {
                self.runtime.delete_container(&container.container_id).await?;
            }
        }
        if let Some(llms) = &self.llms {
            llms.delete_all(owner).await?;
        }
        tenants.delete(owner).await?;
        self.accounts.forget(owner);
        self.chosen.forget(owner);
        Ok(())
    }

    /// What a tenant has and what it sent today.
    pub(crate) async fn tenant_usage(&self, owner: &Owner) -> Outcome<Value> {
        let tenants = self.tenants()?;
        if tenants.find(owner).await?.is_none() {
            return Err(Failure::not_found("Tenant", owner));
        }
        let (mut containers, mut images) = (0_usize, 0_usize);
        for container in self.runtime.containers().await? {
            if owner.name_of(&container.container_id).is_some() {
                containers += 1;
                images += self.runtime.images(&container.container_id).await?.len();
            }
        }
        let today = Usage::of_day(now());
        // This process knows more than the store, where it knows anything.
        let sent = match self.accounts.of(owner).used().await.filter(|used| used.day == today.day) {
            Some(used) => used,
            None => tenants.usage(owner, today.day).await?,
        };
        Ok(json!({
            "tenantId": owner.as_str(),
            "containers": containers,
            "images": images,
            "agents": self.running.of(owner).len(),
            "messagesToday": sent.messages,
            "bytesToday": sent.bytes,
        }))
    }

    async fn stop_all(&self, owner: &Owner) {
        for running in self.running.of(owner) {
            self.stop(&running).await;
        }
    }
}
