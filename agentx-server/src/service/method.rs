//! The methods of the protocol, by all their names.

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(, $other:literal)*;)*) => {
        /// What can be asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Method { $($(#[$doc])* $variant,)* }

        impl Method {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The method of this name, in any generation of the protocol.
            pub(crate) fn of_name(name: &str) -> Option<Self> {
                // The newest clients say where a method belongs, too.
                match name.strip_prefix("runtime.").unwrap_or(name) {
                    $($name $(| $other)* => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name among the methods of the second generation.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

methods! {
    ContainerCreate = "container.create";
    ContainerGet = "container.get";
    ContainerList = "container.list";
    /// Ours.
    ContainerDelete = "container.delete";
    ImageCreate = "image.create";
    ImageGet = "image.get";
    ImageList = "image.list";
    ImageDelete = "image.delete";
    ImageRun = "image.run";
    ImageStop = "image.stop";
    ImageUpdate = "image.update";
    ImageMessages = "image.messages";
    AgentGet = "agent.get", "instance.get";
    AgentList = "agent.list", "instance.list";
    AgentDestroy = "agent.destroy", "instance.destroy";
    AgentDestroyAll = "agent.destroyAll", "instance.destroyAll";
    AgentInterrupt = "agent.interrupt", "instance.interrupt";
    MessageSend = "message.send";
    /// Cuts a conversation off behind a message: `runtime.rewind` of the newest clients, and what it was called before.
    Rewind = "rewind", "message.truncateAfter";
    FileRead = "os.read", "workspace.read";
    FileList = "os.list", "workspace.list";
    FileWrite = "os.write", "workspace.write";
    LlmCreate = "llm.create";
    LlmGet = "llm.get";
    LlmList = "llm.list";
    LlmUpdate = "llm.update";
    LlmDelete = "llm.delete";
    LlmDefault = "llm.default";
    /// Ours.
    ApprovalList = "approval.list";
    /// Ours.
    ApprovalAnswer = "approval.answer";
}

impl Method {
    /// The method of a request of the first generation, such as `image_create_request`.
    pub(crate) fn of_request(event_type: &str) -> Option<Self> {
        let name = event_type.strip_suffix("_request")?;
        let method = match name {
            "agent_create" => Self::ImageRun,
            "agent_destroy_all" => Self::AgentDestroyAll,
            _ => Self::of_name(&name.replacen('_', ".", 1))?,
        };
        Some(method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_found_by_the_names_of_all_generations() {
        let pairs = [
            ("container_create_request", "container.create"),
            ("image_messages_request", "image.messages"),
            ("agent_destroy_all_request", "agent.destroyAll"),
            ("agent_interrupt_request", "agent.interrupt"),
            ("message_send_request", "message.send"),
        ];
        for (request, name) in pairs {
            assert_eq!(Method::of_request(request).map(Method::name), Some(name));
        }
        for method in Method::ALL {
            assert_eq!(Method::of_name(method.name()), Some(*method));
            assert_eq!(Method::of_name(&format!("runtime.{}", method.name())), Some(*method));
        }
        assert_eq!(Method::of_name("instance.destroyAll"), Some(Method::AgentDestroyAll));
        assert_eq!(Method::of_name("runtime.rewind"), Some(Method::Rewind));
        assert_eq!(Method::of_request("agent_create_request"), Some(Method::ImageRun));
    }

    /// What names nothing can name nothing of another's; everything else is asked for with another's id.
    #[test]
    fn every_method_that_names_something_is_in_the_matrix_of_owners() {
        let matrix = include_str!("../../tests/protocol/owners.rs");
        let makes_or_lists_own = ["container.create", "container.list", "llm.create", "llm.list"];
        for method in Method::ALL.iter().filter(|method| !makes_or_lists_own.contains(&method.name())) {
            assert!(matrix.contains(&format!("    \"{}\",\n", method.name())), "{method:?}");
        }
    }

    #[test]
    fn what_is_no_method_is_none() {
        for name in
            ["", "image", "image.", "image.explode", "runtime.", "runtime.runtime.image.get", "llm.explode"]
        {
            assert_eq!(Method::of_name(name), None, "{name}");
        }
        for name in ["", "_request", "image_create", "image_explode_request", "text_delta"] {
            assert_eq!(Method::of_request(name), None, "{name}");
        }
    }
}
