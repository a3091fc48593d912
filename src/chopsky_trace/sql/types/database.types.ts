export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  public: {
    Tables: {
      chopsky_keys: {
        Row: {
          key: string;
          name: string;
        };
        ComputedFields: never;
        Insert: {
          key?: string;
          name: string;
        };
        Update: {
          key?: string;
          name?: string;
        };
        Relationships: [];
      };
      chopsky_migrations: {
        Row: {
          applied_at: string;
          name: string;
          number: number;
          sha256: string;
        };
        ComputedFields: never;
        Insert: {
          applied_at?: string;
          name: string;
          number: number;
          sha256: string;
        };
        Update: {
          applied_at?: string;
          name?: string;
          number?: number;
          sha256?: string;
        };
        Relationships: [];
      };
      conversation_analytics: {
        Row: {
          completion_rate: number | null;
          conversation_quality_score: number | null;
          conversation_run_id: string;
          created_at: string;
          error_count: number;
          id: string;
          metadata: NonNullable<Json>;
          retry_count: number;
          scores_by_hand: string[];
          updated_at: string;
          user_engagement_score: number | null;
        };
        ComputedFields: never;
        Insert: {
          completion_rate?: number | null;
          conversation_quality_score?: number | null;
          conversation_run_id: string;
          created_at?: string;
          error_count?: number;
          id?: string;
          metadata?: NonNullable<Json>;
          retry_count?: number;
          scores_by_hand?: string[];
          updated_at?: string;
          user_engagement_score?: number | null;
        };
        Update: {
          completion_rate?: number | null;
          conversation_quality_score?: number | null;
          conversation_run_id?: string;
          created_at?: string;
          error_count?: number;
          id?: string;
          metadata?: NonNullable<Json>;
          retry_count?: number;
          scores_by_hand?: string[];
          updated_at?: string;
          user_engagement_score?: number | null;
        };
        Relationships: [
          {
            foreignKeyName: "conversation_analytics_conversation_run_id_fkey";
            columns: ["conversation_run_id"];
            isOneToOne: true;
            referencedRelation: "conversation_runs";
            referencedColumns: ["id"];
          },
        ];
      };
      conversation_contents: {
        Row: {
          conversation_run_id: string;
          created_at: string;
          data: string | null;
          document: Json | null;
          id: string;
          kind: string;
          media_type: string | null;
          size_bytes: number;
          text: string | null;
        };
        ComputedFields: never;
        Insert: {
          conversation_run_id: string;
          created_at?: string;
          data?: string | null;
          document?: Json | null;
          id: string;
          kind: string;
          media_type?: string | null;
          size_bytes: number;
          text?: string | null;
        };
        Update: {
          conversation_run_id?: string;
          created_at?: string;
          data?: string | null;
          document?: Json | null;
          id?: string;
          kind?: string;
          media_type?: string | null;
          size_bytes?: number;
          text?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "conversation_contents_conversation_run_id_fkey";
            columns: ["conversation_run_id"];
            isOneToOne: false;
            referencedRelation: "conversation_runs";
            referencedColumns: ["id"];
          },
        ];
      };
      conversation_erasures: {
        Row: {
          erased_at: string;
          id: string;
          receipt: NonNullable<Json>;
        };
        ComputedFields: never;
        Insert: {
          erased_at?: string;
          id?: string;
          receipt: NonNullable<Json>;
        };
        Update: {
          erased_at?: string;
          id?: string;
          receipt?: NonNullable<Json>;
        };
        Relationships: [];
      };
      conversation_feedback: {
        Row: {
          about_id: string;
          answer: number | null;
          comment: string | null;
          conversation_run_id: string | null;
          created_at: string;
          given_by: string | null;
          id: string;
          is_internal: boolean;
          is_pending: boolean;
          key: string;
          message_id: string | null;
          metadata: NonNullable<Json>;
          score: number | null;
          session_id: string | null;
          source: string;
          span_id: string | null;
          target_id: string;
          tenant_id: string | null;
          thumbs: string | null;
          updated_at: string;
          user_id: string | null;
          value: Json | null;
          version: string;
        };
        ComputedFields: never;
        Insert: {
          about_id: string;
          answer?: number | null;
          comment?: string | null;
          conversation_run_id?: string | null;
          created_at?: string;
          given_by?: string | null;
          id?: string;
          is_internal?: boolean;
          is_pending?: boolean;
          key?: string;
          message_id?: string | null;
          metadata?: NonNullable<Json>;
          score?: number | null;
          session_id?: string | null;
          source?: string;
          span_id?: string | null;
          target_id?: never;
          tenant_id?: string | null;
          thumbs?: string | null;
          updated_at?: string;
          user_id?: string | null;
          value?: Json | null;
          version: string;
        };
        Update: {
          about_id?: string;
          answer?: number | null;
          comment?: string | null;
          conversation_run_id?: string | null;
          created_at?: string;
          given_by?: string | null;
          id?: string;
          is_internal?: boolean;
          is_pending?: boolean;
          key?: string;
          message_id?: string | null;
          metadata?: NonNullable<Json>;
          score?: number | null;
          session_id?: string | null;
          source?: string;
          span_id?: string | null;
          target_id?: never;
          tenant_id?: string | null;
          thumbs?: string | null;
          updated_at?: string;
          user_id?: string | null;
          value?: Json | null;
          version?: string;
        };
        Relationships: [];
      };
      conversation_messages: {
        Row: {
          action_taken: string | null;
          body_id: string | null;
          content: string | null;
          conversation_run_id: string | null;
          cost: number | null;
          created_at: string;
          delegation_plan: Json | null;
          id: string;
          is_history: boolean;
          is_internal: boolean;
          metadata: NonNullable<Json>;
          model: string | null;
          name: string | null;
          occurrence: number;
          parts: Json | null;
          position: number;
          provider: string | null;
          questions_asked: Json | null;
          response_time_ms: number | null;
          role: string;
          said: Json | null;
          sequence: number | null;
          session_id: string | null;
          session_key: string | null;
          span_id: string | null;
          tenant_id: string | null;
          token_count: number | null;
          token_count_source: string | null;
          tool_call_id: string | null;
          tool_calls: Json | null;
          user_id: string | null;
          version: string | null;
          chopsky_said_row: {
            action_taken: string | null;
            body_id: string | null;
            content: string | null;
            conversation_run_id: string | null;
            cost: number | null;
            created_at: string;
            delegation_plan: Json | null;
            id: string;
            is_history: boolean;
            is_internal: boolean;
            metadata: NonNullable<Json>;
            model: string | null;
            name: string | null;
            occurrence: number;
            parts: Json | null;
            position: number;
            provider: string | null;
            questions_asked: Json | null;
            response_time_ms: number | null;
            role: string;
            said: Json | null;
            sequence: number | null;
            session_id: string | null;
            session_key: string | null;
            span_id: string | null;
            tenant_id: string | null;
            token_count: number | null;
            token_count_source: string | null;
            tool_call_id: string | null;
            tool_calls: Json | null;
            user_id: string | null;
            version: string | null;
          } | null;
        };
        ComputedFields: "chopsky_said_row";
        Insert: {
          action_taken?: string | null;
          body_id?: string | null;
          content?: string | null;
          conversation_run_id?: string | null;
          cost?: number | null;
          created_at?: string;
          delegation_plan?: Json | null;
          id?: string;
          is_history?: boolean;
          is_internal?: boolean;
          metadata?: NonNullable<Json>;
          model?: string | null;
          name?: string | null;
          occurrence?: number;
          parts?: Json | null;
          position?: number;
          provider?: string | null;
          questions_asked?: Json | null;
          response_time_ms?: number | null;
          role: string;
          said?: Json | null;
          sequence?: number | null;
          session_id?: string | null;
          session_key?: string | null;
          span_id?: string | null;
          tenant_id?: string | null;
          token_count?: number | null;
          token_count_source?: string | null;
          tool_call_id?: string | null;
          tool_calls?: Json | null;
          user_id?: string | null;
          version?: string | null;
        };
        Update: {
          action_taken?: string | null;
          body_id?: string | null;
          content?: string | null;
          conversation_run_id?: string | null;
          cost?: number | null;
          created_at?: string;
          delegation_plan?: Json | null;
          id?: string;
          is_history?: boolean;
          is_internal?: boolean;
          metadata?: NonNullable<Json>;
          model?: string | null;
          name?: string | null;
          occurrence?: number;
          parts?: Json | null;
          position?: number;
          provider?: string | null;
          questions_asked?: Json | null;
          response_time_ms?: number | null;
          role?: string;
          said?: Json | null;
          sequence?: number | null;
          session_id?: string | null;
          session_key?: string | null;
          span_id?: string | null;
          tenant_id?: string | null;
          token_count?: number | null;
          token_count_source?: string | null;
          tool_call_id?: string | null;
          tool_calls?: Json | null;
          user_id?: string | null;
          version?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "conversation_messages_conversation_run_id_fkey";
            columns: ["conversation_run_id"];
            isOneToOne: false;
            referencedRelation: "conversation_runs";
            referencedColumns: ["id"];
          },
        ];
      };
      conversation_prefixes: {
        Row: {
          bodies: string[];
          created_at: string;
          extends: string | null;
          id: string;
          length: number;
        };
        ComputedFields: never;
        Insert: {
          bodies: string[];
          created_at?: string;
          extends?: string | null;
          id: string;
          length: number;
        };
        Update: {
          bodies?: string[];
          created_at?: string;
          extends?: string | null;
          id?: string;
          length?: number;
        };
        Relationships: [];
      };
      conversation_repricings: {
        Row: {
          application: string | null;
          by_model: NonNullable<Json>;
          calls_changed: number;
          calls_from: string;
          calls_seen: number;
          calls_skipped: number;
          calls_to: string;
          done_by: string;
          ended_at: string | null;
          id: string;
          model: string | null;
          new_cost: number | null;
          old_cost: number | null;
          prices: NonNullable<Json>;
          provider: string | null;
          started_at: string;
          status: string;
          tenant_id: string | null;
          updated_at: string;
        };
        ComputedFields: never;
        Insert: {
          application?: string | null;
          by_model?: NonNullable<Json>;
          calls_changed?: number;
          calls_from: string;
          calls_seen?: number;
          calls_skipped?: number;
          calls_to: string;
          done_by?: string;
          ended_at?: string | null;
          id?: string;
          model?: string | null;
          new_cost?: number | null;
          old_cost?: number | null;
          prices?: NonNullable<Json>;
          provider?: string | null;
          started_at?: string;
          status?: string;
          tenant_id?: string | null;
          updated_at?: string;
        };
        Update: {
          application?: string | null;
          by_model?: NonNullable<Json>;
          calls_changed?: number;
          calls_from?: string;
          calls_seen?: number;
          calls_skipped?: number;
          calls_to?: string;
          done_by?: string;
          ended_at?: string | null;
          id?: string;
          model?: string | null;
          new_cost?: number | null;
          old_cost?: number | null;
          prices?: NonNullable<Json>;
          provider?: string | null;
          started_at?: string;
          status?: string;
          tenant_id?: string | null;
          updated_at?: string;
        };
        Relationships: [];
      };
      conversation_runs: {
        Row: {
          average_response_time: number | null;
          content_removed: string | null;
          created_at: string;
          ended_at: string | null;
          environment: string | null;
          error: string | null;
          id: string;
          merged: boolean;
          metadata: NonNullable<Json>;
          name: string | null;
          project: string | null;
          resumed_at: string | null;
          resumes: string | null;
          scope_by_hand: boolean;
          session_id: string | null;
          session_key: string;
          started_at: string | null;
          status: string;
          tags: string[];
          tenant_id: string | null;
          total_cost: number | null;
          total_input_tokens: number | null;
          total_messages: number;
          total_output_tokens: number | null;
          total_tokens_used: number | null;
          totals_by_hand: boolean;
          unmeasured_calls: number;
          unpriced_calls: number;
          updated_at: string;
          user_id: string | null;
          user_satisfaction_score: number | null;
        };
        ComputedFields: never;
        Insert: {
          average_response_time?: number | null;
          content_removed?: string | null;
          created_at?: string;
          ended_at?: string | null;
          environment?: string | null;
          error?: string | null;
          id?: string;
          merged?: boolean;
          metadata?: NonNullable<Json>;
          name?: string | null;
          project?: string | null;
          resumed_at?: string | null;
          resumes?: string | null;
          scope_by_hand?: boolean;
          session_id?: string | null;
          session_key?: never;
          started_at?: string | null;
          status?: string;
          tags?: string[];
          tenant_id?: string | null;
          total_cost?: number | null;
          total_input_tokens?: number | null;
          total_messages?: number;
          total_output_tokens?: number | null;
          total_tokens_used?: number | null;
          totals_by_hand?: boolean;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          updated_at?: string;
          user_id?: string | null;
          user_satisfaction_score?: number | null;
        };
        Update: {
          average_response_time?: number | null;
          content_removed?: string | null;
          created_at?: string;
          ended_at?: string | null;
          environment?: string | null;
          error?: string | null;
          id?: string;
          merged?: boolean;
          metadata?: NonNullable<Json>;
          name?: string | null;
          project?: string | null;
          resumed_at?: string | null;
          resumes?: string | null;
          scope_by_hand?: boolean;
          session_id?: string | null;
          session_key?: never;
          started_at?: string | null;
          status?: string;
          tags?: string[];
          tenant_id?: string | null;
          total_cost?: number | null;
          total_input_tokens?: number | null;
          total_messages?: number;
          total_output_tokens?: number | null;
          total_tokens_used?: number | null;
          totals_by_hand?: boolean;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          updated_at?: string;
          user_id?: string | null;
          user_satisfaction_score?: number | null;
        };
        Relationships: [];
      };
      conversation_sessions: {
        Row: {
          active_task_plan_id: string | null;
          answered_questions: NonNullable<Json>;
          by_hand: boolean;
          completed_at: string | null;
          created_at: string;
          document_chat: boolean;
          driven_at: string | null;
          expires_at: string | null;
          id: string;
          image_generation: boolean;
          is_archived: boolean;
          last_activity_at: string;
          legal_hold: boolean;
          max_tokens: number | null;
          metadata: NonNullable<Json>;
          model_name: string | null;
          model_provider: string | null;
          parsed_intent: Json | null;
          pending_questions: NonNullable<Json>;
          project: string | null;
          selected_kb_ids: string[];
          session_id: string;
          session_key: string;
          state: string;
          system_prompt: string | null;
          temperature: number | null;
          tenant_id: string | null;
          title: string | null;
          updated_at: string;
          user_id: string | null;
          web_search: boolean;
        };
        ComputedFields: never;
        Insert: {
          active_task_plan_id?: string | null;
          answered_questions?: NonNullable<Json>;
          by_hand?: boolean;
          completed_at?: string | null;
          created_at?: string;
          document_chat?: boolean;
          driven_at?: string | null;
          expires_at?: string | null;
          id?: string;
          image_generation?: boolean;
          is_archived?: boolean;
          last_activity_at?: string;
          legal_hold?: boolean;
          max_tokens?: number | null;
          metadata?: NonNullable<Json>;
          model_name?: string | null;
          model_provider?: string | null;
          parsed_intent?: Json | null;
          pending_questions?: NonNullable<Json>;
          project?: string | null;
          selected_kb_ids?: string[];
          session_id: string;
          session_key?: never;
          state?: string;
          system_prompt?: string | null;
          temperature?: number | null;
          tenant_id?: string | null;
          title?: string | null;
          updated_at?: string;
          user_id?: string | null;
          web_search?: boolean;
        };
        Update: {
          active_task_plan_id?: string | null;
          answered_questions?: NonNullable<Json>;
          by_hand?: boolean;
          completed_at?: string | null;
          created_at?: string;
          document_chat?: boolean;
          driven_at?: string | null;
          expires_at?: string | null;
          id?: string;
          image_generation?: boolean;
          is_archived?: boolean;
          last_activity_at?: string;
          legal_hold?: boolean;
          max_tokens?: number | null;
          metadata?: NonNullable<Json>;
          model_name?: string | null;
          model_provider?: string | null;
          parsed_intent?: Json | null;
          pending_questions?: NonNullable<Json>;
          project?: string | null;
          selected_kb_ids?: string[];
          session_id?: string;
          session_key?: never;
          state?: string;
          system_prompt?: string | null;
          temperature?: number | null;
          tenant_id?: string | null;
          title?: string | null;
          updated_at?: string;
          user_id?: string | null;
          web_search?: boolean;
        };
        Relationships: [];
      };
      conversation_spans: {
        Row: {
          abandoned_at: string | null;
          answer_keys: string[] | null;
          audio_tokens: number | null;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          conversation_run_id: string;
          cost: number | null;
          cost_source: string | null;
          created_at: string;
          duplicate_of: string | null;
          end_metadata: Json | null;
          end_version: string | null;
          ended_at: string | null;
          error: string | null;
          finish_reason: string | null;
          id: string;
          input_tokens: number | null;
          inputs: Json | null;
          instrumentor: string | null;
          invocation_params: Json | null;
          is_entry: boolean;
          is_provider: boolean;
          kind: string;
          metadata: NonNullable<Json>;
          model: string | null;
          model_requested: string | null;
          name: string | null;
          native_id: string | null;
          output_bodies: string[] | null;
          output_tokens: number | null;
          outputs: Json | null;
          parent_span_id: string | null;
          price_rates: Json | null;
          prompt_bodies: string[] | null;
          prompt_extends: string | null;
          prompt_names: Json | null;
          prompt_prefix: string | null;
          prompt_take: number | null;
          provider: string | null;
          question_keys: string[] | null;
          reasoning_tokens: number | null;
          reported_cost: number | null;
          response_id: string | null;
          response_time_ms: number | null;
          scope: Json | null;
          source: string | null;
          start_version: string | null;
          started_at: string | null;
          status: string;
          tags: string[];
          time_to_first_token_ms: number | null;
          told: Json | null;
          total_tokens: number | null;
          usage_details: Json | null;
          usage_source: string | null;
          chopsky_as_told: {
            abandoned_at: string | null;
            answer_keys: string[] | null;
            audio_tokens: number | null;
            cache_read_tokens: number | null;
            cache_write_tokens: number | null;
            conversation_run_id: string;
            cost: number | null;
            cost_source: string | null;
            created_at: string;
            duplicate_of: string | null;
            end_metadata: Json | null;
            end_version: string | null;
            ended_at: string | null;
            error: string | null;
            finish_reason: string | null;
            id: string;
            input_tokens: number | null;
            inputs: Json | null;
            instrumentor: string | null;
            invocation_params: Json | null;
            is_entry: boolean;
            is_provider: boolean;
            kind: string;
            metadata: NonNullable<Json>;
            model: string | null;
            model_requested: string | null;
            name: string | null;
            native_id: string | null;
            output_bodies: string[] | null;
            output_tokens: number | null;
            outputs: Json | null;
            parent_span_id: string | null;
            price_rates: Json | null;
            prompt_bodies: string[] | null;
            prompt_extends: string | null;
            prompt_names: Json | null;
            prompt_prefix: string | null;
            prompt_take: number | null;
            provider: string | null;
            question_keys: string[] | null;
            reasoning_tokens: number | null;
            reported_cost: number | null;
            response_id: string | null;
            response_time_ms: number | null;
            scope: Json | null;
            source: string | null;
            start_version: string | null;
            started_at: string | null;
            status: string;
            tags: string[];
            time_to_first_token_ms: number | null;
            told: Json | null;
            total_tokens: number | null;
            usage_details: Json | null;
            usage_source: string | null;
          } | null;
        };
        ComputedFields: "chopsky_as_told";
        Insert: {
          abandoned_at?: string | null;
          answer_keys?: string[] | null;
          audio_tokens?: number | null;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          conversation_run_id: string;
          cost?: number | null;
          cost_source?: string | null;
          created_at?: string;
          duplicate_of?: string | null;
          end_metadata?: Json | null;
          end_version?: string | null;
          ended_at?: string | null;
          error?: string | null;
          finish_reason?: string | null;
          id: string;
          input_tokens?: number | null;
          inputs?: Json | null;
          instrumentor?: string | null;
          invocation_params?: Json | null;
          is_entry?: boolean;
          is_provider?: boolean;
          kind?: string;
          metadata?: NonNullable<Json>;
          model?: string | null;
          model_requested?: string | null;
          name?: string | null;
          native_id?: string | null;
          output_bodies?: string[] | null;
          output_tokens?: number | null;
          outputs?: Json | null;
          parent_span_id?: string | null;
          price_rates?: Json | null;
          prompt_bodies?: string[] | null;
          prompt_extends?: string | null;
          prompt_names?: Json | null;
          prompt_prefix?: string | null;
          prompt_take?: number | null;
          provider?: string | null;
          question_keys?: string[] | null;
          reasoning_tokens?: number | null;
          reported_cost?: number | null;
          response_id?: string | null;
          response_time_ms?: number | null;
          scope?: Json | null;
          source?: string | null;
          start_version?: string | null;
          started_at?: string | null;
          status?: string;
          tags?: string[];
          time_to_first_token_ms?: number | null;
          told?: Json | null;
          total_tokens?: number | null;
          usage_details?: Json | null;
          usage_source?: string | null;
        };
        Update: {
          abandoned_at?: string | null;
          answer_keys?: string[] | null;
          audio_tokens?: number | null;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          conversation_run_id?: string;
          cost?: number | null;
          cost_source?: string | null;
          created_at?: string;
          duplicate_of?: string | null;
          end_metadata?: Json | null;
          end_version?: string | null;
          ended_at?: string | null;
          error?: string | null;
          finish_reason?: string | null;
          id?: string;
          input_tokens?: number | null;
          inputs?: Json | null;
          instrumentor?: string | null;
          invocation_params?: Json | null;
          is_entry?: boolean;
          is_provider?: boolean;
          kind?: string;
          metadata?: NonNullable<Json>;
          model?: string | null;
          model_requested?: string | null;
          name?: string | null;
          native_id?: string | null;
          output_bodies?: string[] | null;
          output_tokens?: number | null;
          outputs?: Json | null;
          parent_span_id?: string | null;
          price_rates?: Json | null;
          prompt_bodies?: string[] | null;
          prompt_extends?: string | null;
          prompt_names?: Json | null;
          prompt_prefix?: string | null;
          prompt_take?: number | null;
          provider?: string | null;
          question_keys?: string[] | null;
          reasoning_tokens?: number | null;
          reported_cost?: number | null;
          response_id?: string | null;
          response_time_ms?: number | null;
          scope?: Json | null;
          source?: string | null;
          start_version?: string | null;
          started_at?: string | null;
          status?: string;
          tags?: string[];
          time_to_first_token_ms?: number | null;
          told?: Json | null;
          total_tokens?: number | null;
          usage_details?: Json | null;
          usage_source?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "conversation_spans_conversation_run_id_fkey";
            columns: ["conversation_run_id"];
            isOneToOne: false;
            referencedRelation: "conversation_runs";
            referencedColumns: ["id"];
          },
        ];
      };
      conversation_tombstones: {
        Row: {
          erased_at: string;
          hash: string;
          kind: string;
          last_refused_at: string | null;
          refused_runs: number;
        };
        ComputedFields: never;
        Insert: {
          erased_at?: string;
          hash: string;
          kind: string;
          last_refused_at?: string | null;
          refused_runs?: number;
        };
        Update: {
          erased_at?: string;
          hash?: string;
          kind?: string;
          last_refused_at?: string | null;
          refused_runs?: number;
        };
        Relationships: [];
      };
      model_prices: {
        Row: {
          batch_factor: number | null;
          cache_read_mtok: number | null;
          cache_write_1h_mtok: number | null;
          cache_write_5m_mtok: number | null;
          cache_write_mtok: number | null;
          created_at: string;
          flex_factor: number | null;
          id: string;
          input_mtok: number | null;
          model: string | null;
          model_pattern: string | null;
          note: string | null;
          other_rates: NonNullable<Json>;
          output_mtok: number | null;
          priority_factor: number | null;
          provider: string | null;
          request_usd: number | null;
          source: string | null;
          tenant_id: string | null;
          tiers: NonNullable<Json>;
          valid_from: string | null;
          valid_until: string | null;
        };
        ComputedFields: never;
        Insert: {
          batch_factor?: number | null;
          cache_read_mtok?: number | null;
          cache_write_1h_mtok?: number | null;
          cache_write_5m_mtok?: number | null;
          cache_write_mtok?: number | null;
          created_at?: string;
          flex_factor?: number | null;
          id?: string;
          input_mtok?: number | null;
          model?: string | null;
          model_pattern?: string | null;
          note?: string | null;
          other_rates?: NonNullable<Json>;
          output_mtok?: number | null;
          priority_factor?: number | null;
          provider?: string | null;
          request_usd?: number | null;
          source?: string | null;
          tenant_id?: string | null;
          tiers?: NonNullable<Json>;
          valid_from?: string | null;
          valid_until?: string | null;
        };
        Update: {
          batch_factor?: number | null;
          cache_read_mtok?: number | null;
          cache_write_1h_mtok?: number | null;
          cache_write_5m_mtok?: number | null;
          cache_write_mtok?: number | null;
          created_at?: string;
          flex_factor?: number | null;
          id?: string;
          input_mtok?: number | null;
          model?: string | null;
          model_pattern?: string | null;
          note?: string | null;
          other_rates?: NonNullable<Json>;
          output_mtok?: number | null;
          priority_factor?: number | null;
          provider?: string | null;
          request_usd?: number | null;
          source?: string | null;
          tenant_id?: string | null;
          tiers?: NonNullable<Json>;
          valid_from?: string | null;
          valid_until?: string | null;
        };
        Relationships: [];
      };
      retention_policies: {
        Row: {
          created_at: string;
          id: string;
          keep_for: string | null;
          tenant_id: string | null;
          updated_at: string;
          what: string;
        };
        ComputedFields: never;
        Insert: {
          created_at?: string;
          id?: string;
          keep_for?: string | null;
          tenant_id?: string | null;
          updated_at?: string;
          what: string;
        };
        Update: {
          created_at?: string;
          id?: string;
          keep_for?: string | null;
          tenant_id?: string | null;
          updated_at?: string;
          what?: string;
        };
        Relationships: [];
      };
      usage_contributions: {
        Row: {
          assistant_messages: number;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          calls: number;
          day: string;
          failed_calls: number;
          input_tokens: number | null;
          key: string;
          messages: number;
          model: string | null;
          output_tokens: number | null;
          owner_id: string;
          provider: string | null;
          reasoning_tokens: number | null;
          response_time_ms: number | null;
          tenant_id: string | null;
          timed_calls: number;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number;
          unpriced_calls: number;
          user_id: string | null;
          user_messages: number;
        };
        ComputedFields: never;
        Insert: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          day: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key: string;
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          owner_id: string;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_id?: string | null;
          user_messages?: number;
        };
        Update: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          day?: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key?: string;
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          owner_id?: string;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_id?: string | null;
          user_messages?: number;
        };
        Relationships: [];
      };
      usage_kept: {
        Row: {
          assistant_messages: number;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          calls: number;
          contributions: number;
          day: string;
          failed_calls: number;
          input_tokens: number | null;
          key: string;
          known: number[];
          messages: number;
          model: string | null;
          output_tokens: number | null;
          provider: string | null;
          reasoning_tokens: number | null;
          response_time_ms: number | null;
          tenant_id: string | null;
          timed_calls: number;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number;
          unpriced_calls: number;
          user_id: string | null;
          user_messages: number;
        };
        ComputedFields: never;
        Insert: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          contributions?: number;
          day: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key: string;
          known?: number[];
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_id?: string | null;
          user_messages?: number;
        };
        Update: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          contributions?: number;
          day?: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key?: string;
          known?: number[];
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_id?: string | null;
          user_messages?: number;
        };
        Relationships: [];
      };
      usage_metrics: {
        Row: {
          assistant_messages: number;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          calls: number;
          contributions: number;
          day: string;
          failed_calls: number;
          input_tokens: number | null;
          key: string;
          known: number[];
          messages: number;
          model: string | null;
          output_tokens: number | null;
          provider: string | null;
          reasoning_tokens: number | null;
          response_time_ms: number | null;
          tenant_id: string | null;
          timed_calls: number;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number;
          unpriced_calls: number;
          user_id: string | null;
          user_messages: number;
        };
        ComputedFields: never;
        Insert: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          contributions?: number;
          day: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key: string;
          known?: number[];
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_id?: string | null;
          user_messages?: number;
        };
        Update: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          contributions?: number;
          day?: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key?: string;
          known?: number[];
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_id?: string | null;
          user_messages?: number;
        };
        Relationships: [];
      };
      usage_totals: {
        Row: {
          assistant_messages: number;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          calls: number;
          contributions: number;
          day: string;
          failed_calls: number;
          input_tokens: number | null;
          key: string;
          known: number[];
          messages: number;
          model: string | null;
          output_tokens: number | null;
          provider: string | null;
          reasoning_tokens: number | null;
          response_time_ms: number | null;
          tenant_id: string | null;
          timed_calls: number;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number;
          unpriced_calls: number;
          user_messages: number;
        };
        ComputedFields: never;
        Insert: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          contributions?: number;
          day: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key: string;
          known?: number[];
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_messages?: number;
        };
        Update: {
          assistant_messages?: number;
          cache_read_tokens?: number | null;
          cache_write_tokens?: number | null;
          calls?: number;
          contributions?: number;
          day?: string;
          failed_calls?: number;
          input_tokens?: number | null;
          key?: string;
          known?: number[];
          messages?: number;
          model?: string | null;
          output_tokens?: number | null;
          provider?: string | null;
          reasoning_tokens?: number | null;
          response_time_ms?: number | null;
          tenant_id?: string | null;
          timed_calls?: number;
          total_cost?: number | null;
          total_tokens?: number | null;
          unmeasured_calls?: number;
          unpriced_calls?: number;
          user_messages?: number;
        };
        Relationships: [];
      };
      user_profiles: {
        Row: {
          avatar_url: string | null;
          created_at: string;
          daily_cost_limit_usd: number | null;
          daily_token_limit: number | null;
          display_name: string | null;
          email: string | null;
          id: string | null;
          is_sample: boolean;
          monthly_cost_limit_usd: number | null;
          monthly_token_limit: number | null;
          preferred_model_name: string | null;
          preferred_model_provider: string | null;
          role: string;
          tenant_id: string | null;
          updated_at: string;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          avatar_url?: string | null;
          created_at?: string;
          daily_cost_limit_usd?: number | null;
          daily_token_limit?: number | null;
          display_name?: string | null;
          email?: string | null;
          id?: never;
          is_sample?: boolean;
          monthly_cost_limit_usd?: number | null;
          monthly_token_limit?: number | null;
          preferred_model_name?: string | null;
          preferred_model_provider?: string | null;
          role?: string;
          tenant_id?: string | null;
          updated_at?: string;
          user_id: string;
        };
        Update: {
          avatar_url?: string | null;
          created_at?: string;
          daily_cost_limit_usd?: number | null;
          daily_token_limit?: number | null;
          display_name?: string | null;
          email?: string | null;
          id?: never;
          is_sample?: boolean;
          monthly_cost_limit_usd?: number | null;
          monthly_token_limit?: number | null;
          preferred_model_name?: string | null;
          preferred_model_provider?: string | null;
          role?: string;
          tenant_id?: string | null;
          updated_at?: string;
          user_id?: string;
        };
        Relationships: [];
      };
      writer_status: {
        Row: {
          backlog_bytes: number;
          backlog_records: number;
          host: string;
          last_write_at: string;
          losses: NonNullable<Json>;
          prices: NonNullable<Json>;
          process_id: number;
          schema_number: number;
          started_at: string;
          stored_records: number;
          version: string;
          writer_id: string;
        };
        ComputedFields: never;
        Insert: {
          backlog_bytes?: number;
          backlog_records?: number;
          host: string;
          last_write_at?: string;
          losses?: NonNullable<Json>;
          prices?: NonNullable<Json>;
          process_id: number;
          schema_number: number;
          started_at: string;
          stored_records?: number;
          version: string;
          writer_id: string;
        };
        Update: {
          backlog_bytes?: number;
          backlog_records?: number;
          host?: string;
          last_write_at?: string;
          losses?: NonNullable<Json>;
          prices?: NonNullable<Json>;
          process_id?: number;
          schema_number?: number;
          started_at?: string;
          stored_records?: number;
          version?: string;
          writer_id?: string;
        };
        Relationships: [];
      };
    };
    Views: {
      conversation_calls: {
        Row: {
          audio_tokens: number | null;
          cache_hit: boolean | null;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          conversation_run_id: string;
          cost: number | null;
          cost_source: string | null;
          duplicate_of: string | null;
          ended_at: string | null;
          environment: string | null;
          error: string | null;
          finish_reason: string | null;
          id: string;
          input_tokens: number | null;
          kind: string;
          model: string | null;
          model_requested: string | null;
          name: string | null;
          output_tokens: number | null;
          output_tokens_per_second: number | null;
          parent_span_id: string | null;
          project: string | null;
          provider: string | null;
          reasoning_tokens: number | null;
          response_time_ms: number | null;
          session_id: string | null;
          source: string | null;
          started_at: string | null;
          status: string;
          tenant_id: string | null;
          time_to_first_token_ms: number | null;
          total_tokens: number | null;
          usage_source: string | null;
          user_id: string | null;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "conversation_spans_conversation_run_id_fkey";
            columns: ["conversation_run_id"];
            isOneToOne: false;
            referencedRelation: "conversation_runs";
            referencedColumns: ["id"];
          },
        ];
      };
      conversation_session_totals: {
        Row: {
          average_response_time: number | null;
          id: string;
          last_activity_at: string;
          project: string | null;
          session_id: string;
          session_key: string;
          state: string;
          tenant_id: string | null;
          title: string | null;
          total_cost: number | null;
          total_messages: number | null;
          total_runs: number | null;
          total_tokens_used: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
          user_id: string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      current_day_usage: {
        Row: {
          calls: number | null;
          day: string;
          failed_calls: number | null;
          input_tokens: number | null;
          messages: number | null;
          output_tokens: number | null;
          tenant_id: string | null;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
          user_id: string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      daily_message_volume: {
        Row: {
          assistant_messages: number | null;
          day: string | null;
          messages: number | null;
          tenant_id: string | null;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
          user_messages: number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      daily_message_volume_by_user: {
        Row: {
          assistant_messages: number | null;
          day: string;
          messages: number | null;
          tenant_id: string | null;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
          user_id: string | null;
          user_messages: number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      message_feedback_summary: {
        Row: {
          average_score: number | null;
          comments: number | null;
          conversation_run_id: string | null;
          feedback_count: number | null;
          last_feedback_at: string | null;
          message_id: string | null;
          thumbs_down: number | null;
          thumbs_up: number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      monthly_usage_summary: {
        Row: {
          active_days: number | null;
          calls: number | null;
          failed_calls: number | null;
          input_tokens: number | null;
          messages: number | null;
          month: string | null;
          output_tokens: number | null;
          tenant_id: string | null;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
          user_id: string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      performance_stats: {
        Row: {
          database_bytes: number | null;
          dead_rows: number | null;
          index_bytes: number | null;
          index_scans: number | null;
          last_analyze_at: string | null;
          last_vacuum_at: string | null;
          live_rows: number | null;
          rows_deleted: number | null;
          rows_inserted: number | null;
          rows_updated: number | null;
          sequential_scans: number | null;
          table_bytes: number | null;
          table_name: unknown;
          total_bytes: number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      provider_usage_stats: {
        Row: {
          average_response_time: number | null;
          failed_calls: number | null;
          first_used_on: string | null;
          input_tokens: number | null;
          last_used_on: string | null;
          model: string | null;
          output_tokens: number | null;
          provider: string | null;
          request_count: number | null;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      usage_logs: {
        Row: {
          action: string | null;
          conversation_id: string | null;
          conversation_run_id: string | null;
          cost_usd: number | null;
          created_at: string | null;
          id: string | null;
          message_id: string | null;
          metadata: Json | null;
          model: string | null;
          provider: string | null;
          status: string | null;
          tenant_id: string | null;
          tokens_used: number | null;
          user_id: string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      usage_sums: {
        Row: {
          assistant_messages: number | null;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          calls: number | null;
          contributions: number | null;
          day: string | null;
          failed_calls: number | null;
          input_tokens: number | null;
          key: string | null;
          known: number[] | null;
          messages: number | null;
          model: string | null;
          output_tokens: number | null;
          provider: string | null;
          reasoning_tokens: number | null;
          response_time_ms: number | null;
          tenant_id: string | null;
          timed_calls: number | null;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
          user_id: string | null;
          user_messages: number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      usage_total_sums: {
        Row: {
          assistant_messages: number | null;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          calls: number | null;
          contributions: number | null;
          day: string | null;
          failed_calls: number | null;
          input_tokens: number | null;
          key: string | null;
          known: number[] | null;
          messages: number | null;
          model: string | null;
          output_tokens: number | null;
          provider: string | null;
          reasoning_tokens: number | null;
          response_time_ms: number | null;
          tenant_id: string | null;
          timed_calls: number | null;
          total_cost: number | null;
          total_tokens: number | null;
          unmeasured_calls: number | null;
          unpriced_calls: number | null;
          user_messages: number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      user_activity_summary: {
        Row: {
          display_name: string | null;
          email: string | null;
          first_activity_at: string | null;
          last_activity_at: string | null;
          role: string | null;
          total_conversations: number | null;
          total_cost_usd: number | null;
          total_messages: number | null;
          total_runs: number | null;
          total_tokens_used: number | null;
          unpriced_calls: number | null;
          user_id: string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      user_usage: {
        Row: {
          assistant_messages: number;
          average_response_time: number | null;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          calls: number;
          day: string;
          failed_calls: number;
          input_tokens: number | null;
          messages: number;
          model: string | null;
          output_tokens: number | null;
          provider: string | null;
          reasoning_tokens: number | null;
          tenant_id: string | null;
          total_tokens: number | null;
          unmeasured_calls: number;
          user_id: string | null;
          user_messages: number;
        };
        ComputedFields: never;
        Relationships: [];
      };
    };
    Functions: {
      archive_old_messages: {
        Args: { at_most?: number; older_than?: string; tenant_id?: string };
        Returns: number;
      };
      cancel_conversation_session: { Args: { session_uuid: string }; Returns: undefined };
      chopsky_add_counts: { Args: { counts: Json; more: Json }; Returns: Json };
      chopsky_add_usage: {
        Args: {
          deltas: Database["public"]["Tables"]["usage_metrics"]["Row"][];
          to_kept: boolean;
          to_metrics: boolean;
        };
        Returns: undefined;
      };
      chopsky_as_told: {
        Args: {
          span: Omit<
            Database["public"]["Tables"]["conversation_spans"]["Row"],
            Database["public"]["Tables"]["conversation_spans"]["ComputedFields"]
          >;
        };
        Returns: {
          abandoned_at: string | null;
          answer_keys: string[] | null;
          audio_tokens: number | null;
          cache_read_tokens: number | null;
          cache_write_tokens: number | null;
          conversation_run_id: string;
          cost: number | null;
          cost_source: string | null;
          created_at: string;
          duplicate_of: string | null;
          end_metadata: Json | null;
          end_version: string | null;
          ended_at: string | null;
          error: string | null;
          finish_reason: string | null;
          id: string;
          input_tokens: number | null;
          inputs: Json | null;
          instrumentor: string | null;
          invocation_params: Json | null;
          is_entry: boolean;
          is_provider: boolean;
          kind: string;
          metadata: NonNullable<Json>;
          model: string | null;
          model_requested: string | null;
          name: string | null;
          native_id: string | null;
          output_bodies: string[] | null;
          output_tokens: number | null;
          outputs: Json | null;
          parent_span_id: string | null;
          price_rates: Json | null;
          prompt_bodies: string[] | null;
          prompt_extends: string | null;
          prompt_names: Json | null;
          prompt_prefix: string | null;
          prompt_take: number | null;
          provider: string | null;
          question_keys: string[] | null;
          reasoning_tokens: number | null;
          reported_cost: number | null;
          response_id: string | null;
          response_time_ms: number | null;
          scope: Json | null;
          source: string | null;
          start_version: string | null;
          started_at: string | null;
          status: string;
          tags: string[];
          time_to_first_token_ms: number | null;
          told: Json | null;
          total_tokens: number | null;
          usage_details: Json | null;
          usage_source: string | null;
        };
        SetofOptions: {
          from: "conversation_spans";
          to: "conversation_spans";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      chopsky_call_pairs: {
        Args: { ids: string[] };
        Returns: {
          how: number;
          id: string;
          other_id: string;
        }[];
      };
      chopsky_claim_runs: { Args: { going?: string[]; wanted: string[] }; Returns: string[] };
      chopsky_content: {
        Args: { content_id: string; run_id: string };
        Returns: {
          conversation_run_id: string;
          created_at: string;
          data: string | null;
          document: Json | null;
          id: string;
          kind: string;
          media_type: string | null;
          size_bytes: number;
          text: string | null;
        }[];
        SetofOptions: {
          from: "*";
          to: "conversation_contents";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      chopsky_count_due: { Args: { older_than?: string; tenant_id?: string }; Returns: Json };
      chopsky_count_usage: { Args: { owner_ids: string[] }; Returns: undefined };
      chopsky_decide_calls: {
        Args: { members: string[] };
        Returns: {
          id: string;
          is_sum: boolean;
          owner_id: string;
          place: number;
        }[];
      };
      chopsky_due_runs: {
        Args: {
          at_most: number;
          keys?: string[];
          older_than?: string;
          tenant_id?: string;
          what: string;
        };
        Returns: string[];
      };
      chopsky_due_sessions: {
        Args: { at_most: number; expired_only?: boolean; tenant_id?: string };
        Returns: string[];
      };
      chopsky_end_session: { Args: { session_uuid: string; state: string }; Returns: undefined };
      chopsky_entomb_runs: { Args: { run_ids: string[] }; Returns: undefined };
      chopsky_erase_on_auth_delete: { Args: { wanted: boolean }; Returns: boolean };
      chopsky_export_feedback: {
        Args: { feedback_ids: string[] };
        Returns: {
          exported: string;
          id: string;
        }[];
      };
      chopsky_export_messages: {
        Args: { message_ids: string[] };
        Returns: {
          exported: string;
          id: string;
        }[];
      };
      chopsky_export_profiles: {
        Args: { user_ids: string[] };
        Returns: {
          exported: string;
          id: string;
        }[];
      };
      chopsky_export_runs: {
        Args: { run_ids: string[] };
        Returns: {
          exported: string;
          id: string;
        }[];
      };
      chopsky_export_sessions: {
        Args: { session_ids: string[] };
        Returns: {
          exported: string;
          id: string;
        }[];
      };
      chopsky_feedback_targets: {
        Args: { feedback_ids: string[] };
        Returns: {
          conversation_run_id: string;
          id: string;
          is_internal: boolean;
          is_pending: boolean;
          message_id: string;
          session_id: string;
          span_id: string;
          tenant_id: string;
          user_id: string;
        }[];
      };
      chopsky_feedback_version: { Args: { moment: string }; Returns: string };
      chopsky_fill_messages: { Args: { bodies: string[]; keys: string[] }; Returns: undefined };
      chopsky_follow_message: {
        Args: { model: string; place: number; provider: string; run_id: string; said_at: string };
        Returns: boolean;
      };
      chopsky_forget_usage: { Args: { tenant_id: string; user_id: string }; Returns: number };
      chopsky_give_way: {
        Args: { began: string; patience: string; what: string };
        Returns: undefined;
      };
      chopsky_going_runs: {
        Args: {
          due: string[];
          older_than: string;
          tenant_id: string;
          tried: string[];
          what: string;
        };
        Returns: string[];
      };
      chopsky_hand_over: {
        Args: { going: string[]; leaving: string[] };
        Returns: Record<string, unknown>;
      };
      chopsky_import: { Args: { lines: Json }; Returns: Json };
      chopsky_import_rows: { Args: { rows: Json; table_name: string }; Returns: number };
      chopsky_ingest: { Args: { payload: Json }; Returns: Json };
      chopsky_join_runs: { Args: { candidates: string[] }; Returns: string[] };
      chopsky_keep_imported: { Args: { rows: Json }; Returns: Record<string, unknown> };
      chopsky_keep_usage: { Args: { run_ids: string[] }; Returns: undefined };
      chopsky_link_resumed: { Args: { run_ids: string[] }; Returns: undefined };
      chopsky_lock_feedback: { Args: { feedback_ids: string[] }; Returns: undefined };
      chopsky_lock_runs: { Args: { patience?: string; run_ids: string[] }; Returns: undefined };
      chopsky_lock_sessions: { Args: { keys: string[]; patience?: string }; Returns: undefined };
      chopsky_lock_usage: { Args: { owner_ids: string[] }; Returns: undefined };
      chopsky_merge_calls: { Args: { run_ids: string[] }; Returns: string[] };
      chopsky_named_ids: { Args: { run_ids: string[] }; Returns: string[] };
      chopsky_nested_calls: {
        Args: { run_ids: string[] };
        Returns: {
          id: string;
          outer_id: string;
        }[];
      };
      chopsky_open_runs: {
        Args: { runs: Json };
        Returns: {
          id: string;
          is_alone: boolean;
          is_late: boolean;
          is_new: boolean;
          session_id: string;
          session_key: string;
          tenant_id: string;
          user_id: string;
        }[];
      };
      chopsky_pair_equal: {
        Args: { body_id: string; content: string; role: string; session_key: string };
        Returns: undefined;
      };
      chopsky_pair_messages: {
        Args: { bodies: string[]; every?: boolean; keys: string[] };
        Returns: undefined;
      };
      chopsky_pair_runs: { Args: { run_ids: string[] }; Returns: undefined };
      chopsky_patience: { Args: { otherwise: string }; Returns: string };
      chopsky_person_columns: {
        Args: Record<PropertyKey, never>;
        Returns: {
          column_name: string;
          table_name: string;
        }[];
      };
      chopsky_place_feedback: { Args: { feedback_ids: string[] }; Returns: undefined };
      chopsky_prefix_bodies: { Args: { prefix_id: string }; Returns: string[] };
      chopsky_prompt_bodies: { Args: { span_id: string }; Returns: string[] };
      chopsky_prompt_names: { Args: { span_id: string }; Returns: Json };
      chopsky_prune: {
        Args: {
          at_most?: number;
          batch?: number;
          dry_run?: boolean;
          for_at_most?: string;
          older_than?: string;
          tenant_id?: string;
        };
        Returns: Json;
      };
      chopsky_prune_rows: { Args: { at_most: number; tenant_id: string }; Returns: Json };
      chopsky_prunes: { Args: Record<PropertyKey, never>; Returns: boolean };
      chopsky_rate_runs: { Args: { run_ids: string[] }; Returns: undefined };
      chopsky_reads_tenant: { Args: Record<PropertyKey, never>; Returns: boolean };
      chopsky_reap: { Args: { at_most?: number; older_than: string }; Returns: number };
      chopsky_recompute: { Args: { run_ids: string[]; unordered: string[] }; Returns: undefined };
      chopsky_refuse_runs: { Args: { run_ids: string[] }; Returns: string[] };
      chopsky_related_calls: { Args: { seeds: string[] }; Returns: string[] };
      chopsky_remove_content: {
        Args: { and_said: boolean; going?: string[]; run_ids: string[] };
        Returns: Json;
      };
      chopsky_remove_runs: {
        Args: { going?: string[]; is_erasure?: boolean; run_ids: string[] };
        Returns: Json;
      };
      chopsky_remove_session: { Args: { at_most: number; session_uuid: string }; Returns: Json };
      chopsky_resolve_feedback: { Args: { feedback_ids: string[] }; Returns: string[] };
      chopsky_restore: {
        Args: { is_document?: boolean; run_id: string; value: Json };
        Returns: Json;
      };
      chopsky_said_by_hand: { Args: { session_key: string }; Returns: string };
      chopsky_said_row: {
        Args: {
          message: Omit<
            Database["public"]["Tables"]["conversation_messages"]["Row"],
            Database["public"]["Tables"]["conversation_messages"]["ComputedFields"]
          >;
        };
        Returns: {
          action_taken: string | null;
          body_id: string | null;
          content: string | null;
          conversation_run_id: string | null;
          cost: number | null;
          created_at: string;
          delegation_plan: Json | null;
          id: string;
          is_history: boolean;
          is_internal: boolean;
          metadata: NonNullable<Json>;
          model: string | null;
          name: string | null;
          occurrence: number;
          parts: Json | null;
          position: number;
          provider: string | null;
          questions_asked: Json | null;
          response_time_ms: number | null;
          role: string;
          said: Json | null;
          sequence: number | null;
          session_id: string | null;
          session_key: string | null;
          span_id: string | null;
          tenant_id: string | null;
          token_count: number | null;
          token_count_source: string | null;
          tool_call_id: string | null;
          tool_calls: Json | null;
          user_id: string | null;
          version: string | null;
        };
        SetofOptions: {
          from: "conversation_messages";
          to: "conversation_messages";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      chopsky_schedule_prune: { Args: { wanted: boolean }; Returns: boolean };
      chopsky_session_moves: { Args: { state: string }; Returns: string[] };
      chopsky_settle_feedback: { Args: { run_ids: string[] }; Returns: undefined };
      chopsky_settle_imported_feedback: { Args: { feedback_ids: string[] }; Returns: number };
      chopsky_settle_messages: { Args: { bodies: string[]; keys: string[] }; Returns: string[] };
      chopsky_settle_said: { Args: { message_ids: string[] }; Returns: undefined };
      chopsky_settle_scope: { Args: { run_ids: string[] }; Returns: string[] };
      chopsky_settle_sessions: { Args: { keys: string[]; patience?: string }; Returns: undefined };
      chopsky_settle_turns: { Args: { run_ids: string[] }; Returns: string[] };
      chopsky_share_messages: {
        Args: { ids: string[]; owners: string[]; places: number[] };
        Returns: string[];
      };
      chopsky_share_numbers: {
        Args: { ids: string[]; owners: string[]; places: number[]; sums: boolean[] };
        Returns: string[];
      };
      chopsky_tenant_id: { Args: Record<PropertyKey, never>; Returns: string };
      chopsky_text_body_id: {
        Args: { content: string; name: string; role: string; tool_call_id: string };
        Returns: string;
      };
      chopsky_tombstone: {
        Args: { id: string; kind: string; tenant_id?: string };
        Returns: string;
      };
      chopsky_tombstones_kept: { Args: Record<PropertyKey, never>; Returns: string };
      chopsky_usage_key: {
        Args: { day: string; model: string; provider: string; tenant_id: string; user_id: string };
        Returns: string;
      };
      chopsky_write_contents: { Args: { contents: Json }; Returns: undefined };
      chopsky_write_costs: { Args: { costs: Json }; Returns: string[] };
      chopsky_write_feedback: { Args: { feedback: Json }; Returns: undefined };
      chopsky_write_messages: { Args: { messages: Json }; Returns: string[] };
      chopsky_write_prefixes: { Args: { prefixes: Json }; Returns: undefined };
      chopsky_write_spans: { Args: { spans: Json }; Returns: undefined };
      cleanup_expired_conversations: { Args: Record<PropertyKey, never>; Returns: number };
      cleanup_test_data: { Args: Record<PropertyKey, never>; Returns: Json };
      clear_conversation_session: { Args: { session_uuid: string }; Returns: number };
      complete_conversation_session: { Args: { session_uuid: string }; Returns: undefined };
      conversation_prompt: {
        Args: { span_id: string };
        Returns: {
          content: string;
          name: string;
          parts: Json;
          position: number;
          role: string;
          tool_call_id: string;
          tool_calls: Json;
        }[];
      };
      conversation_session_id: {
        Args: { project?: string; session_id: string; tenant_id?: string; user_id?: string };
        Returns: string;
      };
      conversation_session_transcript: {
        Args: {
          after?: string;
          at_most?: number;
          session_id?: string;
          session_key?: string;
          tenant_id?: string;
          user_id?: string;
        };
        Returns: {
          content: string;
          conversation_run_id: string;
          created_at: string;
          message_id: string;
          parts: Json;
          role: string;
          sequence: number;
        }[];
      };
      conversation_transcript: {
        Args: { conversation_run_id: string };
        Returns: {
          content: string;
          created_at: string;
          message_id: string;
          parts: Json;
          role: string;
          sequence: number;
        }[];
      };
      erase_user: { Args: { tenant_id?: string; user_id: string }; Returns: Json };
      generate_sample_data: { Args: { email: string }; Returns: Json };
      get_conversation_history: {
        Args: { at_most?: number; session_uuid: string };
        Returns: {
          action_taken: string;
          content: string;
          conversation_run_id: string;
          created_at: string;
          id: string;
          questions_asked: Json;
          role: string;
        }[];
      };
      get_session_cost: { Args: { session_uuid: string }; Returns: number };
      get_session_message_stats: {
        Args: { session_uuid: string };
        Returns: {
          average_response_time: number;
          message_count: number;
          role: string;
          total_cost: number;
          total_tokens: number;
        }[];
      };
      increment_usage_metrics: {
        Args: {
          assistant_messages?: number;
          cache_read_tokens?: number;
          cache_write_tokens?: number;
          calls?: number;
          day?: string;
          failed_calls?: number;
          input_tokens?: number;
          messages?: number;
          model?: string;
          output_tokens?: number;
          provider?: string;
          reasoning_tokens?: number;
          response_time_ms?: number;
          tenant_id?: string;
          total_cost?: number;
          total_tokens?: number;
          user_id?: string;
          user_messages?: number;
        };
        Returns: undefined;
      };
      rate_message: {
        Args: {
          comment?: string;
          key?: string;
          message_id: string;
          score?: number;
          thumbs?: string;
        };
        Returns: string;
      };
      rebuild_usage: { Args: { since?: string }; Returns: number };
      recompute_runs: { Args: { run_ids: string[] }; Returns: undefined };
    };
    Enums: {
      [_ in never]: never;
    };
    CompositeTypes: {
      [_ in never]: never;
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R;
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R;
      }
      ? R
      : never
    : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I;
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I;
      }
      ? I
      : never
    : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U;
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U;
      }
      ? U
      : never
    : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
    : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
    : never;

export const Constants = {
  public: {
    Enums: {},
  },
} as const;
